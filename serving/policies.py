"""The reply policies of this process, by project: loading, choosing, and the log of what was shown.

Without a version in production, and whenever a version cannot be read or fails, nothing is chosen here and the caller
sends the category's reply as always. What is served is looked up again every `ENSO_MODEL_POLL_SECONDS`.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from feedback import bulk, outbox
from feedback.models import Reply
from serving import policy as pure
from serving.artifacts import Bundle, CorruptBundle, load_bundle
from serving.engine import Prediction
from serving.lines import Line
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
        if p.category is None or (found := held.policies.get(p.teacher_sha or p.encoder_sha)) is None:
            return None
        offered = pure.candidates(
            held.offers, category=p.category, locale=locale, metadata=metadata or {}, now=timezone.now()
        )
        draw = _draws.random() if explore else None
        return pure.choose(found[1], found[0], p.embedding, offered, draw=draw)
    except Exception:  # a customer waits: whatever is wrong with the policy, there is a reply without it
        log.exception("the reply policy of project %s failed; the category's reply is sent", project_id)
        return None


def shown_columns(choice: Choice, inquiry_id: uuid.UUID) -> dict[str, Any]:
    """The row of `ReplyShown` that logs what was shown, to be written with the inquiry."""
    return bulk.row(
        ReplyShown, inquiry_id=inquiry_id, policy_id=choice.policy, reply_id=choice.reply, propensity=choice.propensity,
        candidates={str(i): round(share, 6) for i, share in choice.candidates.items()}, shown_at=timezone.now(),
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
            found[version.encoder_sha] = (version.pk, _verified(version))
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


def _announce(project_id: int, version: PolicyVersion | None) -> None:
    outbox.publish(
        kind="policy.promoted", project_id=project_id, payload={"policy": None if version is None else version.pk}
    )


def _verified(version: PolicyVersion) -> ServedPolicy:
    return ServedPolicy.load(open_bundle(version))


line = Line(PolicyVersion, lambda v: f"Policy p{v.number}", _verified, _announce)
in_production, promote = line.in_production, line.promote


def register(*, bundle: Bundle, **fields: Any) -> PolicyVersion:
    """A new version (see Line.register) with what its manifest says of it."""
    m = bundle.manifest
    return line.register(
        bundle=bundle, replies=len(m["replies"]), temperature=m["temperature"], exploration=m["exploration"], **fields
    )


def rollback(*, project_id: int, encoder_sha: str) -> PolicyVersion | None:
    """Put the version before the present one back; before the first, the category's reply (None). 409 where none chooses."""
    nothing = "No policy chooses here: the category's reply is sent."
    return line.withdraw(project_id=project_id, encoder_sha=encoder_sha, nothing=nothing)
