"""Comparing replies: handing comparisons out, taking verdicts, and how far people agree.

Slots are claimed by the statement that labeling uses (labeling/lanes.py): best first, never two people on one slot, never
one person twice on one comparison. Which reply a person sees as A is drawn from their id and the comparison's, so that a
liking for one side cancels out over people. What is stored is said of the pair, not of sides.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection, transaction
from django.db.models import Count, Q
from django.utils import timezone

from feedback.models import Inquiry, Project
from feedback.problems import Problem, invalid, not_found
from labeling import agreement, hot, lanes, queue
from labeling.comparison_models import Comparison, ComparisonAnswer, ComparisonSlot, Verdict
from labeling.ranking import language_of, slot_priority
from labeling.services import lease_lost

SIDES = ("a", "b", "tie", "neither")
_SWAPPED = {Verdict.FIRST: Verdict.SECOND, Verdict.SECOND: Verdict.FIRST}
_FREE: dict[str, Any] = {"state": "open", "annotator": None, "token": None, "lease_expires_at": None}

_RELEASE_EXPIRED = """
UPDATE labeling_comparisonslot SET state = 'open', annotator_id = NULL, token = NULL, lease_expires_at = NULL
WHERE id IN (SELECT id FROM labeling_comparisonslot WHERE project_id = %(project)s AND state = 'leased'
             AND lease_expires_at < now() ORDER BY id FOR UPDATE SKIP LOCKED)
"""
_RENEW = """
UPDATE labeling_comparisonslot SET lease_expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE annotator_id = %(annotator)s AND project_id = %(project)s AND state = 'leased'
RETURNING id, comparison_id, 'annotator'::text, token, lease_expires_at
"""
_BAR = """
UPDATE labeling_comparisonslot s SET barred = COALESCE((
    SELECT array_agg(a.annotator_id ORDER BY a.annotator_id) FROM labeling_comparisonanswer a
    WHERE a.comparison_id = %(comparison)s), '{}')
WHERE s.comparison_id = %(comparison)s AND s.state <> 'done'
"""


@dataclass(frozen=True)
class Wanted:
    """Two replies to be compared on one inquiry, and how much an answer teaches (in [0, 1])."""

    inquiry_id: uuid.UUID
    replies: tuple[int, int]
    value: float
    reason: dict[str, Any]


def open_comparisons(*, project_id: int, wanted: Iterable[Wanted], overlap: int | None = None) -> int:
    """Queue comparisons; those that were asked already are left out. Returns how many are new."""
    project = Project.objects.get(pk=project_id)
    overlap = project.overlap if overlap is None else overlap
    if not 1 <= overlap <= 10:
        raise invalid("overlap", "A comparison is asked of 1 to 10 people.")
    made = 0
    with transaction.atomic():
        _drop_outdated(project_id)
        for one in wanted:
            made += _open(project, one, overlap)
    return made


def _drop_outdated(project_id: int) -> None:
    """Pairs that nobody has begun and that name a retired reply teach nothing any more."""
    waiting = Comparison.objects.filter(project=project_id, settled_at=None, answers=None)
    retired = waiting.filter(Q(first__active=False) | Q(second__active=False))
    retired.exclude(slots__state="leased").delete()


def _open(project: Project, wanted: Wanted, overlap: int) -> bool:
    first, second = sorted(wanted.replies)
    row, fresh = Comparison.objects.get_or_create(
        inquiry_id=wanted.inquiry_id, first_id=first, second_id=second,
        defaults={"project": project, "overlap": overlap, "priority": wanted.value, "reason": wanted.reason},
    )  # fmt: skip
    if fresh:
        locale = Inquiry.objects.values_list("locale", flat=True).get(pk=wanted.inquiry_id)
        priority = slot_priority(
            value=wanted.value, risk=0.0, opened_at=row.created_at, patience_days=project.patience_days
        )
        ComparisonSlot.objects.bulk_create(
            ComparisonSlot(
                comparison=row, project=project, number=n, priority=priority, language=language_of(locale)
            )
            for n in range(1, overlap + 1)
        )  # fmt: skip
    return fresh


def claim(*, project_id: int, annotator_id: int, seconds: float) -> queue.Lease | None:
    """What the person has in hand, or the best open comparison that is new to them; None where there is none."""
    given: dict[str, Any] = {"project": project_id, "annotator": annotator_id, "seconds": seconds}
    with transaction.atomic():
        _take_turn(project_id, annotator_id)
        hot.rows(_RELEASE_EXPIRED, given)
        row = hot.row(_RENEW, given) or hot.row(lanes.CLAIM_COMPARISON, given | {"token": uuid.uuid4()})
    return queue.Lease(row[0], row[1], row[3], row[4], row[2], annotator_id) if row else None


def _take_turn(project_id: int, annotator_id: int) -> None:
    """Two tabs of one person take turns; their labeling desk is another matter."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 7))", [f"compare:{project_id}:{annotator_id}"]
        )


def extend(*, comparison_id: int, annotator_id: int, token: uuid.UUID, seconds: float) -> datetime:
    """Renew a live lease; 409 where it is lost."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE labeling_comparisonslot SET lease_expires_at = clock_timestamp() + make_interval(secs => %s) "
            "WHERE comparison_id = %s AND annotator_id = %s AND token = %s AND state = 'leased' RETURNING lease_expires_at",
            [seconds, comparison_id, annotator_id, token],
        )
        row = cursor.fetchone()
    if row is None:
        raise lease_lost()
    expires: datetime = row[0]
    return expires


def release(*, comparison_id: int, annotator_id: int, token: uuid.UUID, known_until: datetime | None = None) -> None:
    """Give one back unanswered; 409 where the lease is lost, or was renewed after ``known_until``."""
    held = ComparisonSlot.objects.filter(
        comparison=comparison_id, annotator_id=annotator_id, token=token, state="leased"
    )
    if known_until is not None:
        held = held.filter(lease_expires_at__lte=known_until)
    if not held.update(**_FREE):
        raise lease_lost()


def answer(
    *, project_id: int, comparison_id: int, annotator_id: int, token: uuid.UUID, said: str, seconds: float | None = None
) -> ComparisonAnswer:
    """Take a verdict on a lease, in the words of what the person saw: one of `SIDES`, or "skip".

    The same answer again is the one that was taken; another one is a 409. On a lost lease it is kept and does not count.
    """
    with transaction.atomic():
        row = _locked(project_id, comparison_id)
        swapped = is_swapped(comparison_id, annotator_id)
        verdict = verdict_of(said, swapped=swapped)
        known = ComparisonAnswer.objects.filter(comparison=row, annotator_id=annotator_id).first()
        if known is not None:
            if known.token == token and known.verdict == verdict:
                return known
            raise Problem(409, "already-answered", "You have already compared these. Use undo to change the answer.")
        slot = _finished(row, annotator_id, token, skipped=verdict == Verdict.SKIP)
        given = ComparisonAnswer.objects.create(
            comparison=row, slot=slot, annotator_id=annotator_id, verdict=verdict, swapped=swapped, token=token,
            seconds=seconds,
        )  # fmt: skip
        hot.rows(_BAR, {"comparison": row.pk})
        _settle(row)
    return given


def _finished(row: Comparison, annotator_id: int, token: uuid.UUID, *, skipped: bool) -> ComparisonSlot | None:
    """The slot of a live lease, closed (or given back by a skip); None where nothing counts."""
    slot = ComparisonSlot.objects.filter(comparison=row, annotator_id=annotator_id, token=token, state="leased").first()
    if slot is None:
        return None
    fields = _FREE if skipped else {"state": "done", "lease_expires_at": None}
    ComparisonSlot.objects.filter(pk=slot.pk).update(**fields)
    return None if skipped else slot


def undo(*, project_id: int, comparison_id: int, annotator_id: int) -> None:
    """Take a person's own answer or skip back; somebody, and that may be they, is asked again."""
    with transaction.atomic():
        row = _locked(project_id, comparison_id)
        own = ComparisonAnswer.objects.filter(comparison=row, annotator_id=annotator_id).first()
        if own is None:
            raise not_found("answer of yours")
        slot = own.slot_id
        own.delete()
        if slot is not None:
            ComparisonSlot.objects.filter(pk=slot).update(**_FREE)
        hot.rows(_BAR, {"comparison": row.pk})
        _settle(row)


def _settle(row: Comparison) -> None:
    """A comparison ends when as many as wanted have answered; its verdict is what all of them say."""
    said = list(ComparisonAnswer.objects.filter(comparison=row, slot__isnull=False).values_list("verdict", flat=True))
    ended = len(said) >= row.overlap
    row.verdict = said[0] if ended and len(set(said)) == 1 else ""
    row.settled_at = (row.settled_at or timezone.now()) if ended else None
    row.save(update_fields=["verdict", "settled_at"])


def _locked(project_id: int, comparison_id: int) -> Comparison:
    row = Comparison.objects.select_for_update().filter(pk=comparison_id, project_id=project_id).first()
    if row is None:
        raise not_found("comparison")
    return row


def is_swapped(comparison_id: int, annotator_id: int) -> bool:
    """Whether this person sees the second reply as A."""
    return bool(hashlib.sha256(f"{comparison_id}:{annotator_id}".encode()).digest()[0] & 1)


def verdict_of(said: str, *, swapped: bool) -> Verdict:
    """What a person said of sides, as it is said of the pair. Raises Problem 422 for another word."""
    words = {
        "a": Verdict.FIRST, "b": Verdict.SECOND, "tie": Verdict.TIE, "neither": Verdict.NEITHER, "skip": Verdict.SKIP,
    }  # fmt: skip
    if said not in words:
        raise invalid("verdict", f"Say one of {', '.join(words)}, not {said!r}.")
    return _SWAPPED.get(words[said], words[said]) if swapped else words[said]


def payload(*, comparison_id: int, annotator_id: int) -> dict[str, Any]:
    """What a person is shown: the inquiry and the two texts, and nothing of what others said or the policy prefers."""
    row = Comparison.objects.select_related("inquiry", "first", "second").get(pk=comparison_id)
    a, b = (row.second, row.first) if is_swapped(row.pk, annotator_id) else (row.first, row.second)
    return {
        "id": row.pk, "text": row.inquiry.text, "locale": row.inquiry.locale, "channel": row.inquiry.channel,
        "received_at": row.inquiry.received_at, "a": {"text": a.text, "locale": a.locale},
        "b": {"text": b.text, "locale": b.locale},
    }  # fmt: skip


def status(*, project_id: int, annotator_id: int) -> dict[str, int]:
    """How many answers are still wanted, and how many the person gave today (UTC)."""
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    own = ComparisonAnswer.objects.filter(
        annotator_id=annotator_id, comparison__project_id=project_id, created_at__gte=today
    )
    return {
        "waiting": waiting(project_id=project_id),
        "today": own.exclude(verdict=Verdict.SKIP).count(),
    }


def waiting(*, project_id: int) -> int:
    """Answers that are still wanted and that nobody is giving at this moment."""
    return ComparisonSlot.objects.filter(project_id=project_id, state="open").count()


def progress(*, project_id: int) -> dict[str, Any]:
    """Comparisons asked and settled, how people answered, and their agreement (percent and Krippendorff's α)."""
    rows = Comparison.objects.filter(project_id=project_id)
    counts = rows.aggregate(asked=Count("pk"), settled=Count("pk", filter=Q(settled_at__isnull=False)))
    counted = ComparisonAnswer.objects.filter(comparison__project_id=project_id, slot__isnull=False)
    given = list(counted.values_list("comparison_id", "annotator_id", "verdict"))
    several = rows.filter(settled_at__isnull=False, overlap__gt=1)
    same, of = several.exclude(verdict="").count(), several.count()
    alpha = agreement.krippendorff_alpha(_pairs(given))
    return {
        **counts, "answers": {str(v): sum(g[2] == v for g in given) for v in Verdict if v != Verdict.SKIP},
        "agreed": round(same / of, 4) if of else None, "alpha": None if alpha.value is None else round(alpha.value, 4),
        "left_sided": _left_sided(project_id),
    }  # fmt: skip


def _pairs(given: list[tuple[int, int, str]]) -> list[agreement.Pairs]:
    if not given:
        return []
    words = list(Verdict.values)
    items, people, said = zip(*((c, a, words.index(v)) for c, a, v in given), strict=True)
    numbers = (np.asarray(column, dtype=np.int64) for column in (items, people, said))
    items_, people_, said_ = numbers
    return agreement.tally(items_, people_, said_)


def _left_sided(project_id: int) -> float | None:
    """Share of the decided answers that went to A; about one half where the side does not matter."""
    decided = ComparisonAnswer.objects.filter(comparison__project_id=project_id, slot__isnull=False)
    a = decided.filter(Q(verdict=Verdict.FIRST, swapped=False) | Q(verdict=Verdict.SECOND, swapped=True)).count()
    of = decided.filter(verdict__in=[Verdict.FIRST, Verdict.SECOND]).count()
    return round(a / of, 4) if of else None
