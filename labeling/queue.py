"""The queue: one slot row per required annotation, claimed by one statement with SKIP LOCKED.

What the database holds: a slot has one holder, a person never holds two slots of a task, and there are only as many
slots as the overlap. So no item reaches two people by accident, whatever this module does wrong.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from labeling import counters, gold, hot, lanes
from labeling.models import LabelTask, Slot, SlotRole, SlotState

RESERVE_SECONDS = 120.0
_draws = SystemRandom()
_OPENED: dict[str, Any] = {
    "state": SlotState.OPEN, "annotator": None, "token": None, "lease_expires_at": None, "reserved": False,
}  # fmt: skip

# A known item that nobody holds any more is not a task that waits: its slot goes.
_RELEASE_EXPIRED = """
WITH expired AS (
    SELECT id, gold FROM labeling_slot
    WHERE project_id = %(project)s AND state = 'leased' AND lease_expires_at < now()
    ORDER BY id FOR UPDATE SKIP LOCKED
), gone AS (DELETE FROM labeling_slot WHERE id IN (SELECT id FROM expired WHERE gold))
UPDATE labeling_slot SET state = 'open', annotator_id = NULL, token = NULL, lease_expires_at = NULL, reserved = false
WHERE id IN (SELECT id FROM expired WHERE NOT gold)
"""

# Whether a lease of the project has run out, and whether the person holds anything: whether it is in hand.
_LOOK = """
SELECT EXISTS (SELECT 1 FROM labeling_slot WHERE project_id = %(project)s AND state = 'leased' AND lease_expires_at < now()),
    (SELECT bool_or(NOT reserved) FROM labeling_slot WHERE annotator_id = %(annotator)s AND project_id = %(project)s
     AND role = ANY (%(roles)s) AND state = 'leased' AND lease_expires_at >= now())
"""
_CLOSE = "DELETE FROM labeling_slot WHERE task_id = %(task)s AND state <> 'done'"
_TURN = "SELECT pg_advisory_xact_lock(hashtextextended(%(key)s, 7))"
_RENEW = """
UPDATE labeling_slot SET lease_expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE id = (SELECT id FROM labeling_slot WHERE annotator_id = %(annotator)s AND project_id = %(project)s
            AND role = ANY (%(roles)s) AND state = 'leased' AND reserved = %(reserve)s ORDER BY id LIMIT 1)
  AND state = 'leased' AND annotator_id = %(annotator)s  -- once more: it may have run out and been taken meanwhile
RETURNING id, task_id, role, token, lease_expires_at
"""

# A reserved slot becomes the one in hand; the unique constraint holds that there is no other.
_PROMOTE = """
UPDATE labeling_slot s SET reserved = false, lease_expires_at = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE annotator_id = %(annotator)s AND project_id = %(project)s AND role = ANY (%(roles)s) AND state = 'leased' AND reserved
  AND NOT EXISTS (SELECT 1 FROM labeling_slot h WHERE h.annotator_id = s.annotator_id AND h.project_id = s.project_id
                  AND h.role = s.role AND h.state = 'leased' AND NOT h.reserved)
RETURNING id, task_id, role, token, lease_expires_at
"""


@dataclass(frozen=True)
class Lease:
    """A person's time-limited right to answer one slot."""

    slot_id: int
    task_id: int
    token: uuid.UUID
    expires_at: datetime
    role: str
    annotator_id: int


def open_expert_slot(task: LabelTask) -> None:
    """A task waits for an expert; those who have answered it are left out. The caller holds the task's row."""
    slots = list(Slot.objects.filter(task=task).values("number", "priority", "language", "skill"))
    like = next((s for s in slots if s["number"] == 1), None) or {"priority": task.priority, "language": "", "skill": 0}
    number = max((s["number"] for s in slots), default=0) + 1
    Slot.objects.create(
        task=task, project_id=task.project_id, overlap=task.overlap, role=SlotRole.EXPERT, **{**like, "number": number}
    )
    bar(task)


def bar(task: LabelTask) -> None:
    """Put the task's slots into the lane of those who have not answered or skipped it. The caller holds the task's row."""
    hot.rows(lanes.BAR, {"task": task.pk})


def claim(
    *,
    project_id: int,
    annotator_id: int,
    roles: Sequence[str],
    seconds: float,
    reserve: bool = False,
    gold_rate: float = 0.0,
) -> Lease | None:
    """The caller's live lease, or the best open slot of the first of `roles` that has one; None when there is nothing.

    With `reserve` it is the item after that one: held for a short while, and in hand once the first is answered. Where
    nothing is in hand (a prefetch that comes after the page has closed), there is nothing to come after: it is in hand.
    With `gold_rate` a share of what annotators get is an item whose answer is known; nothing tells them which.
    """
    given: dict[str, Any] = {"project": project_id, "annotator": annotator_id, "seconds": seconds, "roles": list(roles)}
    with transaction.atomic():
        take_turn(project_id=project_id, annotator_id=annotator_id)
        expired, in_hand = hot.row(_LOOK, given) or (False, None)
        if expired:
            hot.rows(_RELEASE_EXPIRED, given)
        reserve = reserve and bool(in_hand)
        if in_hand is not None and (held := _held_again(given | {"reserve": reserve}, annotator_id)):
            return held
        known = SlotRole.ANNOTATOR in roles and gold_rate > 0 and _draws.random() < gold_rate
        statements = [(gold.CLAIM, SlotRole.ANNOTATOR.value)] if known else []
        for statement, role in [*statements, *((lanes.CLAIM, role) for role in roles)]:
            new = given | {"role": str(role), "reserve": reserve, "token": uuid.uuid4()}
            if lease := _lease(hot.row(statement, new), annotator_id):
                return lease
    return None


def _held_again(given: dict[str, Any], annotator_id: int) -> Lease | None:
    """What the person holds. Handed out again (the page was loaded anew): for its full time, and out of reach of a late release."""
    held = _lease(hot.row(_RENEW, given), annotator_id)
    return held or (None if given["reserve"] else _lease(hot.row(_PROMOTE, given), annotator_id))


def _lease(row: tuple[Any, ...] | None, annotator_id: int) -> Lease | None:
    """From (slot, task, role, token, end)."""
    return Lease(row[0], row[1], row[3], row[4], row[2], annotator_id) if row else None


def take_turn(*, project_id: int, annotator_id: int) -> None:
    """Two tabs of one person take turns until the end of the transaction; different people never wait for each other."""
    hot.row(_TURN, {"key": f"queue:{project_id}:{annotator_id}"})


def live_lease(*, project_id: int, annotator_id: int) -> Lease | None:
    """What a person has in hand (not what waits for them)."""
    return _held(project_id, annotator_id, SlotRole.values, reserved=False)


def _held(project_id: int, annotator_id: int, roles: Sequence[str], *, reserved: bool) -> Lease | None:
    slot = (
        Slot.objects.filter(
            annotator_id=annotator_id, project_id=project_id, role__in=roles, state=SlotState.LEASED, reserved=reserved
        )
        .order_by("id")
        .first()
    )
    if slot is None or slot.token is None or slot.lease_expires_at is None:
        return None
    return Lease(slot.pk, slot.task_id, slot.token, slot.lease_expires_at, slot.role, annotator_id)


def promote_reserved(*, project_id: int, annotator_id: int, role: str, seconds: float) -> Lease | None:
    """The item that waited is now the one in hand; None when nothing waited."""
    given = {"project": project_id, "annotator": annotator_id, "roles": [str(role)], "seconds": seconds}
    with transaction.atomic():
        take_turn(project_id=project_id, annotator_id=annotator_id)
        return _lease(hot.row(_PROMOTE, given), annotator_id)


def role_of(*, task_id: int, token: uuid.UUID) -> str:
    """The role that a lease was given for; the annotator's where it is lost."""
    role = Slot.objects.filter(task_id=task_id, token=token).values_list("role", flat=True).first()
    return role or SlotRole.ANNOTATOR


def extend(*, task_id: int, annotator_id: int, token: uuid.UUID, seconds: float) -> datetime | None:
    """Renew a live lease (heartbeat), and what waits behind it; None when it is lost."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE labeling_slot SET lease_expires_at = clock_timestamp() + make_interval(secs => %s) "
            "WHERE task_id = %s AND annotator_id = %s AND token = %s AND state = 'leased' "
            "RETURNING lease_expires_at, project_id",
            [seconds, task_id, annotator_id, token],
        )
        row = cursor.fetchone()
        if row is None:
            return None
        cursor.execute(
            "UPDATE labeling_slot SET lease_expires_at = clock_timestamp() + make_interval(secs => %s) "
            "WHERE annotator_id = %s AND project_id = %s AND state = 'leased' AND reserved",
            [RESERVE_SECONDS, annotator_id, row[1]],
        )
    expires: datetime = row[0]
    return expires


def release(*, task_id: int, annotator_id: int, token: uuid.UUID, known_until: datetime | None = None) -> bool:
    """Give a slot back unanswered; False when the lease was already lost.

    With `known_until`, the end of the lease as the caller knows it, a lease that was renewed since stays: a page that is
    closed sends its release late, when the same person may have opened the page again.
    """
    held = Slot.objects.filter(task_id=task_id, annotator_id=annotator_id, token=token, state=SlotState.LEASED)
    if known_until is not None:
        held = held.filter(lease_expires_at__lte=known_until)
    return bool(_give_back(held))


def _give_back(held: QuerySet[Slot]) -> int:
    """Open leased slots again; a known item's slot goes instead. Returns how many."""
    with transaction.atomic():
        return held.filter(gold=True).delete()[0] + held.filter(gold=False).update(**_OPENED)


def clear_leases(*, project_id: int, annotator_id: int | None = None) -> int:
    """Take back every lease of a project, or one person's; who held one can still answer, but it may not count."""
    held = Slot.objects.filter(project_id=project_id, state=SlotState.LEASED)
    return _give_back(held if annotator_id is None else held.filter(annotator_id=annotator_id))


def release_waiting(*, project_id: int, annotator_id: int, role: str) -> None:
    """Give back what is only reserved: whoever gives back the item in hand does not want the next one."""
    own = Slot.objects.filter(project_id=project_id, annotator_id=annotator_id, role=role, state=SlotState.LEASED)
    _give_back(own.filter(reserved=True))


def take_back(slot: Slot, *, seconds: float) -> Lease:
    """A person undoes an answer: its slot is in their hand again, and what they had in hand waits behind it.

    The caller holds the task's row and has the person's turn.
    """
    own = Slot.objects.filter(
        annotator_id=slot.annotator_id, project_id=slot.project_id, role=slot.role, state=SlotState.LEASED
    ).exclude(pk=slot.pk)
    _give_back(own.filter(reserved=True))
    own.update(reserved=True)
    slot.state, slot.token, slot.reserved = SlotState.LEASED, uuid.uuid4(), False
    slot.lease_expires_at = timezone.now() + timedelta(seconds=seconds)
    slot.save(update_fields=["state", "annotator", "token", "reserved", "lease_expires_at"])
    assert slot.annotator_id is not None
    return Lease(slot.pk, slot.task_id, slot.token, slot.lease_expires_at, slot.role, slot.annotator_id)


def close_open_slots(task: LabelTask) -> None:
    """A settled task hands out nothing more; who still holds it has an `extra` answer."""
    hot.rows(_CLOSE, {"task": task.pk})


def counts(*, project_id: int) -> dict[str, int]:
    """How many tasks wait for annotators and for experts, by the counters."""
    found = counters.read(project_id)
    return {state: found.get(f"task:{state}", 0) for state in ("open", "disputed")}
