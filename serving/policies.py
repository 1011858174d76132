"""The reply policies of this process, by project: loading, choosing, and the log of what was shown.

Without a version in production, and whenever a version cannot be read or fails, nothing is chosen here and the caller
sends the category's reply as always. What is served is looked up again every `ENSO_MODEL_POLL_SECONDS`.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone

from feedback import outbox
from feedback.models import Inquiry, Project, Reply
from feedback.problems import Problem
from serving import policy as pure
from serving.artifacts import Bundle, CorruptBundle, load_bundle
from serving.engine import Prediction
from serving.models import PolicyStage, PolicyVersion, ReplyShown
from serving.policy import Choice, Offer, ServedPolicy
from serving.registry import bundle_path

log = logging.getLogger(__name__)
_draws = random.SystemRandom()

_SIGNATURE = """
SELECT p.revision, string_agg(v.id || v.manifest_sha, ',' ORDER BY v.id) FROM feedback_project p
LEFT JOIN serving_policyversion v ON v.project_id = p.id AND v.stage = 'production' WHERE p.id = %s GROUP BY p.id
"""


@dataclass(frozen=True)
class _Held:
    """What one project serves, as of a look at its rows."""

    signature: tuple[Any, ...]
    looked_at: float
    policies: Mapping[str, tuple[int, ServedPolicy]]  # by encoder sha256
    offers: tuple[Offer, ...]


_held: dict[int, _Held] = {}


def forget() -> None:
    """Start anew (tests, and processes that forked)."""
    _held.clear()


def choose(
    *, project_id: int, p: Prediction, locale: str, metadata: Mapping[str, Any] | None, explore: bool = True
) -> Choice | None:
    """The reply that the project's policy shows for a prediction; None: send the category's reply."""
    try:
        held = _current(project_id)
        if p.category is None or (found := held.policies.get(p.encoder_sha)) is None:
            return None
        offered = pure.candidates(
            held.offers, category=p.category, locale=locale, metadata=metadata or {}, now=timezone.now()
        )
        draw = _draws.random() if explore else None
        return pure.choose(found[1], found[0], p.embedding, offered, draw=draw)
    except Exception:  # a customer waits: whatever is wrong with the policy, there is a reply without it
        log.exception("the reply policy of project %s failed; the category's reply is sent", project_id)
        return None


def record(choice: Choice, inquiry: Inquiry) -> None:
    """Log what was shown, in the caller's transaction."""
    ReplyShown.objects.create(
        inquiry=inquiry, policy_id=choice.policy, reply_id=choice.reply, propensity=choice.propensity,
        candidates={str(i): round(share, 6) for i, share in choice.candidates.items()},
    )  # fmt: skip


def _current(project_id: int) -> _Held:
    held, now = _held.get(project_id), time.monotonic()
    if held is not None and now - held.looked_at < settings.ENSO_MODEL_POLL_SECONDS:
        return held
    with connection.cursor() as cursor:
        cursor.execute(_SIGNATURE, [project_id])
        signature = tuple(cursor.fetchone() or ())
    if held is not None and held.signature == signature:
        fresh = _Held(signature, now, held.policies, held.offers)
    else:
        fresh = _load(project_id, signature, held, now)
    _held[project_id] = fresh
    return fresh


def _load(project_id: int, signature: tuple[Any, ...], before: _Held | None, now: float) -> _Held:
    found: dict[str, tuple[int, ServedPolicy]] = {}
    for version in PolicyVersion.objects.filter(project_id=project_id, stage=PolicyStage.PRODUCTION):
        try:
            found[version.encoder_sha] = (version.pk, ServedPolicy.load(open_bundle(version)))
        except CorruptBundle as error:
            log.error("%s is refused: %s", version, error)
            if before is not None and version.encoder_sha in before.policies:
                found[version.encoder_sha] = before.policies[version.encoder_sha]
    return _Held(signature, now, found, offers(project_id=project_id) if found else ())


def offers(*, project_id: int) -> tuple[Offer, ...]:
    """The active replies of a project's categories in use."""
    rows = Reply.objects.filter(project_id=project_id, active=True, category__archived_at=None)
    return tuple(
        Offer(r.pk, r.category.key, r.locale, r.text, r.expires_at)
        for r in rows.select_related("category").order_by("category_id", "locale", "slot")
    )


def open_bundle(version: PolicyVersion) -> Bundle:
    """The verified bundle of a version. Raises CorruptBundle."""
    return load_bundle(bundle_path(version.manifest_sha), version.manifest_sha)


def in_production(*, project_id: int, encoder_sha: str) -> PolicyVersion | None:
    same = PolicyVersion.objects.filter(project_id=project_id, encoder_sha=encoder_sha)
    return same.filter(stage=PolicyStage.PRODUCTION).first()


def register(*, project_id: int, bundle: Bundle, encoder_sha: str, **fields: Any) -> PolicyVersion:
    """A new version, numbered within its project; its parent is the one in production."""
    with transaction.atomic():
        _lock(project_id)
        last = PolicyVersion.objects.filter(project_id=project_id).aggregate(n=Max("number"))["n"] or 0
        m = bundle.manifest
        return PolicyVersion.objects.create(
            project_id=project_id, number=last + 1, encoder_sha=encoder_sha, manifest_sha=bundle.sha256, kind=bundle.kind,
            parent=in_production(project_id=project_id, encoder_sha=encoder_sha), replies=len(m["replies"]),
            temperature=m["temperature"], exploration=m["exploration"], **fields,
        )  # fmt: skip


def promote(*, version_id: int) -> PolicyVersion:
    """Let a version choose from now on. 409 where its bundle is damaged or a gate stopped it."""
    version = PolicyVersion.objects.get(pk=version_id)
    try:
        ServedPolicy.load(open_bundle(version))
    except CorruptBundle as error:
        raise Problem(409, "corrupt-bundle", f"Policy p{version.number} cannot serve: {error}") from error
    with transaction.atomic():
        _lock(version.project_id)
        version.refresh_from_db()
        if version.stage == PolicyStage.REJECTED:
            raise Problem(409, "gate-failed", f"Policy p{version.number} failed a gate and cannot serve.")
        if version.stage == PolicyStage.PRODUCTION:
            return version
        _retire(version.project_id, version.encoder_sha)
        version.stage, version.promoted_at = PolicyStage.PRODUCTION, timezone.now()
        version.save(update_fields=["stage", "promoted_at"])
        outbox.publish(kind="policy.promoted", project_id=version.project_id, payload={"policy": version.pk})
    return version


def rollback(*, project_id: int, encoder_sha: str) -> PolicyVersion | None:
    """Put the version before the present one back; before the first, the category's reply (None). 409 where none chooses."""
    serving = in_production(project_id=project_id, encoder_sha=encoder_sha)
    if serving is None:
        raise Problem(409, "nothing-to-roll-back-to", "No policy chooses here: the category's reply is sent.")
    same = PolicyVersion.objects.filter(project_id=project_id, encoder_sha=encoder_sha, number__lt=serving.number)
    previous = same.filter(stage=PolicyStage.ARCHIVED).order_by("-number").first()
    if previous is not None:
        return promote(version_id=previous.pk)
    with transaction.atomic():
        _lock(project_id)
        _retire(project_id, encoder_sha)
    return None


def _lock(project_id: int) -> None:
    Project.objects.select_for_update(no_key=True).get(pk=project_id)


def _retire(project_id: int, encoder_sha: str) -> None:
    same = PolicyVersion.objects.filter(project_id=project_id, encoder_sha=encoder_sha)
    same.filter(stage=PolicyStage.PRODUCTION).update(stage=PolicyStage.ARCHIVED)
