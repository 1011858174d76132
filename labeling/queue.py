"""The queue: one slot row per required annotation, claimed by one statement with SKIP LOCKED.

What the database holds: a slot has one holder, a person never holds two slots of a task, and there are only as many
slots as the overlap. So no item reaches two people by accident, whatever this module does wrong.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction

from labeling.models import LabelTask, Slot, SlotRole, SlotState, TaskState

EXPERT_PRIORITY = 10.0

_RELEASE_EXPIRED = """
UPDATE labeling_slot SET state = 'open', annotator_id = NULL, token = NULL, lease_expires_at = NULL
WHERE id IN (
    SELECT id FROM labeling_slot
    WHERE project_id = %(project)s AND state = 'leased' AND lease_expires_at < now()
    ORDER BY id FOR UPDATE SKIP LOCKED)
"""

_CLAIM = """
UPDATE labeling_slot SET state = 'leased', annotator_id = %(annotator)s, token = %(token)s,
    lease_expires_at = now() + make_interval(secs => %(seconds)s)
WHERE id = (
    SELECT s.id FROM labeling_slot s
    WHERE s.project_id = %(project)s AND s.role = %(role)s AND s.state = 'open'
      AND NOT EXISTS (SELECT 1 FROM labeling_slot o WHERE o.task_id = s.task_id AND o.annotator_id = %(annotator)s)
      AND NOT EXISTS (SELECT 1 FROM labeling_annotation a WHERE a.task_id = s.task_id AND a.annotator_id = %(annotator)s)
    ORDER BY s.priority DESC, s.id
    FOR UPDATE OF s SKIP LOCKED
    LIMIT 1)
RETURNING id, task_id, lease_expires_at
"""


@dataclass(frozen=True)
class Lease:
    """A person's time-limited right to answer one slot."""

    slot_id: int
    task_id: int
    token: uuid.UUID
    expires_at: datetime


def open_slots(task: LabelTask) -> None:
    """Room for `task.overlap` annotations. The caller holds the transaction in which the task was made."""
    Slot.objects.bulk_create(
        Slot(task=task, project_id=task.project_id, number=n, priority=task.priority)
        for n in range(1, task.overlap + 1)
    )


def open_expert_slot(task: LabelTask) -> None:
    """A dispute waits for an expert, ahead of the expert's other work."""
    number = Slot.objects.filter(task=task).count() + 1
    Slot.objects.create(
        task=task,
        project_id=task.project_id,
        number=number,
        role=SlotRole.EXPERT,
        priority=EXPERT_PRIORITY + task.priority,
    )


def claim(*, project_id: int, annotator_id: int, roles: Sequence[str], seconds: float) -> Lease | None:
    """The caller's live lease, or the best open slot of the first of `roles` that has one; None when there is nothing."""
    with transaction.atomic(), connection.cursor() as cursor:
        # Two tabs of one person take turns; different people never wait for each other.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 7))", [f"queue:{project_id}:{annotator_id}"])
        cursor.execute(_RELEASE_EXPIRED, {"project": project_id})
        if held := live_lease(project_id=project_id, annotator_id=annotator_id):
            return held
        for role in roles:
            token = uuid.uuid4()
            cursor.execute(
                _CLAIM,
                {"project": project_id, "annotator": annotator_id, "role": role, "token": token, "seconds": seconds},
            )
            if row := cursor.fetchone():
                return Lease(row[0], row[1], token, row[2])
    return None


def live_lease(*, project_id: int, annotator_id: int) -> Lease | None:
    slot = (
        Slot.objects.filter(annotator_id=annotator_id, project_id=project_id, state=SlotState.LEASED)
        .order_by("id")
        .first()
    )
    if slot is None or slot.token is None or slot.lease_expires_at is None:
        return None
    return Lease(slot.pk, slot.task_id, slot.token, slot.lease_expires_at)


def extend(*, task_id: int, annotator_id: int, token: uuid.UUID, seconds: float) -> datetime | None:
    """Renew a live lease (heartbeat); None when it is lost."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE labeling_slot SET lease_expires_at = now() + make_interval(secs => %s) "
            "WHERE task_id = %s AND annotator_id = %s AND token = %s AND state = 'leased' RETURNING lease_expires_at",
            [seconds, task_id, annotator_id, token],
        )
        row = cursor.fetchone()
    return row[0] if row else None


def release(*, task_id: int, annotator_id: int, token: uuid.UUID) -> bool:
    """Give a slot back unanswered; False when the lease was already lost."""
    held = Slot.objects.filter(task_id=task_id, annotator_id=annotator_id, token=token, state=SlotState.LEASED)
    return bool(held.update(state=SlotState.OPEN, annotator=None, token=None, lease_expires_at=None))


def reprioritise(*, priorities: dict[int, float]) -> int:
    """Set the priority of open, unaudited tasks and their open slots; returns how many tasks changed."""
    if not priorities:
        return 0
    ids, values = list(priorities), list(priorities.values())
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE labeling_labeltask t SET priority = v.priority FROM unnest(%s::bigint[], %s::float8[]) AS v(id, priority) "
            "WHERE t.id = v.id AND t.state = 'open' AND t.kind <> 'audit' AND t.priority IS DISTINCT FROM v.priority",
            [ids, values],
        )
        changed = cursor.rowcount
        cursor.execute(
            "UPDATE labeling_slot s SET priority = v.priority FROM unnest(%s::bigint[], %s::float8[]) AS v(id, priority), "
            "labeling_labeltask t WHERE s.task_id = v.id AND t.id = v.id AND s.state = 'open' AND s.role = 'annotator' "
            "AND t.kind <> 'audit' AND s.priority IS DISTINCT FROM v.priority",
            [ids, values],
        )
    return changed


def close_open_slots(task: LabelTask) -> None:
    """A settled task hands out nothing more."""
    Slot.objects.filter(task=task, state=SlotState.OPEN).delete()


def counts(*, project_id: int) -> dict[str, int]:
    """How many tasks wait for annotators and for experts."""
    own = LabelTask.objects.filter(project_id=project_id)
    return {
        "open": own.filter(state=TaskState.OPEN).count(),
        "disputed": own.filter(state=TaskState.DISPUTED).count(),
    }
