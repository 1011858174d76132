"""Use cases of labeling/: opening tasks, taking answers, settling labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from feedback import outbox
from feedback.models import Category, Inquiry, Membership, Project, Role
from feedback.problems import Problem, invalid, not_found
from labeling import answering, days, hot, queue, resolving
from labeling.answering import Answer
from labeling.escalations import open_escalation
from labeling.models import (
    Annotation,
    GoldItem,
    Label,
    LabelSource,
    LabelTask,
    Resolution,
    Slot,
    SlotRole,
    TaskKind,
    TaskState,
)
from labeling.opening import Wanted, slot_columns, task_columns
from labeling.ranking import Rules
from labeling.settling import settle_label, withdraw_label

__all__ = [
    "Answer",
    "annotate",
    "import_label",
    "open_escalation",
    "open_task",
    "settle_by_agent",
    "settle_label",
    "take",
    "withdraw_label",
]


def open_task(
    *,
    inquiry: Inquiry,
    kind: TaskKind,
    overlap: int,
    priority: float,
    reason: dict[str, Any],
    suggestion_id: int | None = None,
    propensity: float | None = None,
) -> LabelTask:
    """Queue an inquiry for labeling; `overlap` is the project's, which its category or the sampling may raise.

    An audit task is blind: whatever is suggested is not kept with it, and changes neither its place nor its overlap.
    """
    suggestion = None if kind == TaskKind.AUDIT or suggestion_id is None else Category.objects.get(pk=suggestion_id)
    wanted = Wanted(kind, priority, reason, suggestion, propensity)
    double_share, patience = Project.objects.values_list("double_share", "patience_days").get(pk=inquiry.project_id)
    rules = Rules(overlap, double_share, patience)
    columns = task_columns(wanted, rules, project_id=inquiry.project_id, inquiry_id=inquiry.pk)
    task = LabelTask.objects.create(**columns)
    columns |= {"id": task.pk, "created_at": task.created_at}
    Slot.objects.bulk_create(Slot(**slot) for slot in slot_columns(columns, wanted, rules, locale=inquiry.locale))
    return task


def slot_roles(*, user_id: int, project_id: int) -> list[str]:
    """Which slots a person may claim, experts' first; 403 for somebody who does not label in this project."""
    return claimable(
        set(Membership.objects.filter(user_id=user_id, project_id=project_id).values_list("role", flat=True))
    )


def claimable(roles: Collection[str]) -> list[str]:
    """The slots that roles in a project entitle to, experts' first; 403 when there are none."""
    found = [
        str(slot)
        for slot, role in ((SlotRole.EXPERT, Role.EXPERT), (SlotRole.ANNOTATOR, Role.ANNOTATOR))
        if role in roles
    ]
    if not found:
        raise Problem(
            403, "missing-role", "Labeling here needs the role annotator or expert. Ask a lead of the project for it."
        )
    return found


@dataclass(frozen=True)
class Taken:
    """An answer that was taken, and what the person meets next."""

    annotation_id: int
    state: str
    role: str
    extra: bool
    more_waits: bool = True


def take(*, roles: Mapping[int, Collection[str]], answer: Answer) -> tuple[int, Taken]:
    """Take an answer of somebody who has `roles` by project; the project's id and what came of it.

    404 for a task of no project of theirs, 403 where they do not label. See `annotate` for everything else.
    """
    with transaction.atomic():
        seen = answering.look(project_ids=list(roles), answer=answer)
        if seen is None:
            raise not_found("task")
        claimable(roles[seen.project_id])
        written = answering.write(answer=answer, seen=seen) if seen.is_common else None
        if written is not None:
            transaction.on_commit(outbox.nudge)
            return seen.project_id, Taken(written, TaskState.RESOLVED, SlotRole.ANNOTATOR, False, seen.more_waits)
        annotation = annotate(project_id=seen.project_id, answer=answer)
    return seen.project_id, Taken(annotation.pk, annotation.task.state, annotation.role, annotation.extra)


def annotate(*, project_id: int, answer: Answer) -> Annotation:
    """Take an answer on a lease, and settle the task when it was the last one needed. The same answer twice is one.

    An answer whose lease was lost is kept as `extra` and never counted; one to a known item is judged and never counted.
    """
    with transaction.atomic():
        category_id, guideline_id = _category(project_id, answer.category)
        locked = LabelTask.objects.select_for_update(of=("self",)).select_related("project")
        task = locked.filter(pk=answer.task_id, project_id=project_id).first()
        if task is None:
            raise not_found("task")
        own = list(Annotation.objects.filter(task=task, annotator_id=answer.annotator_id))
        if known := [a for a in own if a.token == answer.token] or [a for a in own if not a.superseded]:
            return _repeat(known[0], answer, category_id)
        annotation = _stored(task, answer, category_id, guideline_id)
        days.add(annotation, project_id=project_id)
        if task.state != TaskState.RESOLVED:
            if task.overlap > 1 or annotation.extra:
                queue.bar(task)
            if annotation.counts:
                resolving.settle(task, annotation)
    annotation.task = task
    return annotation


_CATEGORY = """
SELECT c.id, (SELECT g.id FROM labeling_guideline g WHERE g.project_id = %(project)s ORDER BY g.number DESC LIMIT 1)
FROM feedback_project p LEFT JOIN feedback_category c ON c.project_id = p.id AND c.key = %(key)s AND c.archived_at IS NULL
WHERE p.id = %(project)s
"""
_FINISH = """
UPDATE labeling_slot SET state = 'done', lease_expires_at = NULL, reserved = false
WHERE task_id = %(task)s AND annotator_id = %(annotator)s AND token = %(token)s AND state = 'leased'
RETURNING id, role, gold
"""


def _category(project_id: int, key: str | None) -> tuple[int | None, int | None]:
    """Ids of the category named and of the guideline in force; 422 for a category that is not there."""
    found = hot.row(_CATEGORY, {"project": project_id, "key": key or ""})
    category_id, guideline_id = found or (None, None)
    if key is not None and category_id is None:
        raise invalid("category", f"There is no category {key!r} in this project.")
    return category_id, guideline_id


def _stored(task: LabelTask, answer: Answer, category_id: int | None, guideline_id: int | None) -> Annotation:
    lease = {"task": task.pk, "annotator": answer.annotator_id, "token": answer.token}
    slot_id, role, gold = hot.row(_FINISH, lease) or (None, SlotRole.ANNOTATOR.value, False)
    if category_id is None and role != SlotRole.EXPERT:
        raise invalid("category", "Choose a category, or skip the item: only an expert may find that none fits.")
    annotation = Annotation(
        task=task, slot_id=slot_id, annotator_id=answer.annotator_id, category_id=category_id, token=answer.token, role=role,
        extra=slot_id is None, saw_suggestion=answer.saw_suggestion, seconds=answer.seconds, guideline_id=guideline_id,
    )  # fmt: skip
    if gold:
        annotation.gold = True
        annotation.right = GoldItem.objects.values_list("category_id", flat=True).get(task=task) == category_id
    annotation.save(force_insert=True)
    return annotation


def _repeat(known: Annotation, answer: Answer, category_id: int | None) -> Annotation:
    if known.token == answer.token and known.category_id == category_id:
        return known
    raise Problem(409, "already-answered", "You have already answered this task. Use undo to change the answer.")


def lease_lost() -> Problem:
    return Problem(409, "lease-lost", "Your lease on this task ran out. Take the next one.", field="token")


def settle_by_agent(inquiry: Inquiry, category_id: int) -> None:
    """Nobody needs to label what an agent has decided. An audit task stays: it must be answered blind, as it was drawn."""
    open_ones = LabelTask.objects.select_for_update().exclude(kind=TaskKind.AUDIT)
    task = open_ones.filter(inquiry=inquiry, state__in=[TaskState.OPEN, TaskState.DISPUTED]).first()
    if task is not None:
        resolving.close(task, category_id, Resolution.AGENT)


def import_label(*, inquiry: Inquiry, category_id: int) -> Label:
    """A label that a project already had."""
    with transaction.atomic():
        return settle_label(inquiry=inquiry, category_id=category_id, source=LabelSource.IMPORTED)
