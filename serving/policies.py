"""The reply policies of this process, by project: loading, choosing, and the log of what was shown.

Without a version in production, and whenever a version cannot be read or fails, nothing is chosen here and the caller
sends the category's reply as always. What is served is a part of the desk (serving/served.py) and follows promotions with it:
a request asks the database nothing.
"""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from feedback import bulk, outbox
from feedback.models import Reply
from serving import policy as pure
from serving.artifacts import Bundle, CorruptBundle, load_bundle
from serving.breaker import LeftAlone
from serving.engine import Prediction
from serving.lines import Line
from serving.models import PolicyStage, PolicyTrial, PolicyVersion, ReplyShown
from serving.policy import Choice, Offer, ServedPolicy, Shelf, Tried
from serving.registry import bundle_path

log = logging.getLogger(__name__)
_draws = random.SystemRandom()

# A choice takes a tenth of a millisecond. One that takes this long delays the customer more than it is worth: a few of them
# in a row, and the category's reply is sent for a while.
BUDGET_SECONDS = 0.1


def choose(
    shelf: Shelf,
    *,
    p: Prediction,
    locale: str,
    metadata: Mapping[str, Any] | None,
    explore: bool = True,
    unit: str = "",
) -> Choice | None:
    """What the project's policy shows `unit` (a customer) for a prediction; None: send the category's reply."""
    if p.category is None or (found := shelf.policy_for(p.teacher_sha or p.encoder_sha, unit)) is None:
        return None
    version, policy = found
    try:
        with policy.breaker.call(budget=BUDGET_SECONDS):
            offered = pure.candidates(
                shelf.offers, category=p.category, locale=locale, metadata=metadata or {}, now=timezone.now()
            )
            return pure.choose(policy, version, p.embedding, offered, draw=_draws.random() if explore else None)
    except LeftAlone:
        return None
    except Exception:  # a customer waits: whatever is wrong with the policy, there is a reply without it
        log.exception("reply policy %s failed; the category's reply is sent", version)
        return None


def shown_columns(choice: Choice, inquiry_id: uuid.UUID) -> dict[str, Any]:
    """The row of `ReplyShown` that logs what was shown, to be written with the inquiry."""
    return bulk.row(
        ReplyShown, inquiry_id=inquiry_id, policy_id=choice.policy, reply_id=choice.reply, propensity=choice.propensity,
        candidates={str(i): round(share, 6) for i, share in choice.candidates.items()}, shown_at=timezone.now(),
    )  # fmt: skip


def shelf(project_id: int, before: Shelf | None) -> Shelf:
    """What a project serves now. A version that does not verify is refused, and the one of `before` stays."""
    earlier = before.policies if before is not None else {}
    found: dict[str, tuple[int, ServedPolicy]] = {}
    for version in PolicyVersion.objects.filter(project_id=project_id, stage=PolicyStage.PRODUCTION):
        present = earlier.get(version.encoder_sha)
        try:
            # One that serves already goes on with its circuit breaker: a change of settings does not mend it.
            same = present is not None and present[0] == version.pk
            found[version.encoder_sha] = present if present and same else (version.pk, _verified(version))
        except CorruptBundle as error:
            log.error("%s is refused: %s", version, error)
            if present is not None:
                found[version.encoder_sha] = present
    return Shelf(found, offers(project_id=project_id) if found else (), _trials(project_id, before) if found else {})


def _trials(project_id: int, before: Shelf | None) -> dict[str, Tried]:
    """What is on trial; a candidate that does not verify is given to nobody."""
    found: dict[str, Tried] = {}
    for trial in PolicyTrial.objects.filter(project_id=project_id, state="running").select_related("candidate"):
        known = before.trials.get(trial.encoder_sha) if before is not None else None
        try:
            same = known is not None and known.version == trial.candidate_id
            policy = known.policy if known is not None and same else _verified(trial.candidate)
        except CorruptBundle as error:
            log.error("%s on trial is refused: %s", trial.candidate, error)
            continue
        found[trial.encoder_sha] = Tried(trial.candidate_id, policy, trial.salt, trial.course.percent)
    return found


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
