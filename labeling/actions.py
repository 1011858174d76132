"""What else a person does with an item in hand: skip it, flag it, escalate it, or take an answer back."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.db import transaction

from feedback.masking import mask
from feedback.models import Category, Inquiry, Status
from feedback.problems import Problem, invalid, not_found
from labeling import days, guidelines, queue, resolving, services, tallies
from labeling.models import (
    Annotation,
    Escalation,
    Flag,
    Guideline,
    LabelTask,
    Resolution,
    Skip,
    SkipReason,
    Slot,
    SlotRole,
    SlotState,
    TaskState,
)

UNDOABLE = 10


def release(
    *, project_id: int, task_id: int, annotator_id: int, token: uuid.UUID, known_until: datetime | None = None
) -> None:
    """Give a task back unanswered; 409 when the lease was already lost, or renewed after `known_until`.

    What was prefetched behind it goes back too. It waits its turn: the page that the same person opens meanwhile claims
    after it, not past the row that it locks.
    """
    with transaction.atomic():
        queue.take_turn(project_id=project_id, annotator_id=annotator_id)
        if not LabelTask.objects.filter(pk=task_id, project_id=project_id).exists():
            raise not_found("task")
        role = queue.role_of(task_id=task_id, token=token)
        if not queue.release(task_id=task_id, annotator_id=annotator_id, token=token, known_until=known_until):
            raise services.lease_lost()
        queue.release_waiting(project_id=project_id, annotator_id=annotator_id, role=role)


def skip(*, project_id: int, task_id: int, annotator_id: int, token: uuid.UUID, reason: str = SkipReason.NONE) -> Skip:
    """Leave a task to others: it is not handed to this person again. The same skip twice is one; a lost lease is no loss."""
    with transaction.atomic():
        queue.take_turn(project_id=project_id, annotator_id=annotator_id)
        task = _locked(project_id, task_id)
        _must_not_have_answered(task, annotator_id)
        queue.release(task_id=task.pk, annotator_id=annotator_id, token=token)
        row, fresh = Skip.objects.update_or_create(task=task, annotator_id=annotator_id, defaults={"reason": reason})
        if fresh:
            queue.bar(task)
            days.add_skip(project_id=project_id, annotator_id=annotator_id, moment=row.created_at)
    return row


def flag(*, project_id: int, task_id: int, annotator_id: int, on: bool) -> None:
    """Ask the lead to look at a task, or take that back."""
    task = LabelTask.objects.filter(pk=task_id, project_id=project_id).first()
    if task is None:
        raise not_found("task")
    if on:
        Flag.objects.get_or_create(task=task, annotator_id=annotator_id)
    else:
        Flag.objects.filter(task=task, annotator_id=annotator_id).delete()


def escalate(*, project_id: int, task_id: int, annotator_id: int, token: uuid.UUID, detail: str) -> Escalation:
    """An annotator sees a customer who needs a person: an agent takes over, the item leaves this annotator's hands."""
    with transaction.atomic():
        row = skip(
            project_id=project_id, task_id=task_id, annotator_id=annotator_id, token=token, reason=SkipReason.ESCALATED
        )
        inquiry = row.task.inquiry
        Inquiry.objects.filter(pk=inquiry.pk, status=Status.ANSWERED).update(status=Status.WAITING)
        reasons: list[dict[str, Any]] = [{"code": "annotator", "detail": mask(detail).text}]
        return services.open_escalation(inquiry=inquiry, reasons=reasons)


def undo(*, project_id: int, task_id: int, annotator_id: int, seconds: float) -> queue.Lease | None:
    """Take back one of the last ten answers or skips. The item is in the person's hand again; None where it no longer can be.

    A label that rested on the answer is withdrawn. 409 when somebody else has meanwhile decided on top of it.
    """
    with transaction.atomic():
        queue.take_turn(project_id=project_id, annotator_id=annotator_id)
        task = _locked(project_id, task_id)
        if skipped := Skip.objects.filter(task=task, annotator_id=annotator_id).first():
            return _undo_skip(skipped, seconds)
        own = Annotation.objects.filter(task=task, annotator_id=annotator_id, superseded=False)
        answer = own.select_related("slot").first()
        if answer is None:
            raise not_found("answer of yours")
        _must_be_recent(project_id, answer)
        return _undo_answer(task, answer, seconds)


def _undo_skip(skipped: Skip, seconds: float) -> queue.Lease | None:
    if skipped.reason == SkipReason.ESCALATED:
        raise Problem(409, "already-decided", "An agent has this case now. Tell them what you meant.")
    task, annotator_id = skipped.task, skipped.annotator_id
    days.add_skip(project_id=task.project_id, annotator_id=annotator_id, moment=skipped.created_at, sign=-1)
    skipped.delete()
    queue.bar(task)
    held = Slot.objects.filter(task=task, annotator_id=annotator_id).exists()
    role = SlotRole.EXPERT if task.state == TaskState.DISPUTED else SlotRole.ANNOTATOR
    open_slots = Slot.objects.select_for_update(skip_locked=True).filter(task=task, state=SlotState.OPEN, role=role)
    slot = None if held else open_slots.order_by("number").first()
    if slot is None:
        return None
    slot.annotator_id = annotator_id
    return queue.take_back(slot, seconds=seconds)


def _undo_answer(task: LabelTask, answer: Annotation, seconds: float) -> queue.Lease | None:
    slot = answer.slot
    days.add(answer, project_id=task.project_id, sign=-1)
    if slot is None:
        answer.delete()
        queue.bar(task)
        return None
    if answer.counts:
        _reopen(task, answer)
    # The answer goes before its slot is leased again: a done slot without an answer is never seen by anybody.
    answer.delete()
    lease = queue.take_back(slot, seconds=seconds)
    queue.bar(
        task
    )  # now that the slot is not done any more: what was skipped and taken back meanwhile must not stick to it
    return lease


def _reopen(task: LabelTask, answer: Annotation) -> None:
    """The state that the task had before this answer."""
    if answer.role == SlotRole.EXPERT:
        return _reopen_experts(task)
    if task.state == TaskState.DISPUTED:
        _withdraw_from_expert(task)
    elif task.state != TaskState.OPEN and task.resolution not in resolving.OWN:
        raise Problem(409, "already-decided", "Somebody has meanwhile decided this one. Tell them what you meant.")
    if task.state != TaskState.OPEN:
        resolving.reopen(task, TaskState.OPEN)
        LabelTask.objects.filter(pk=task.pk).update(batch=None)
    answers = resolving.counted(task)
    return tallies.move(task, before=answers, after=[a for a in answers if a[0] != answer.annotator_id])


def _reopen_experts(task: LabelTask) -> None:
    if task.resolution not in (Resolution.EXPERT, Resolution.NONE):
        raise Problem(409, "already-decided", "Somebody has meanwhile decided this one. Tell them what you meant.")
    return resolving.reopen(task, TaskState.DISPUTED)


def _withdraw_from_expert(task: LabelTask) -> None:
    """A task that waits for an expert goes back to the annotators, unless the expert already looks at it."""
    asked = Slot.objects.select_for_update().filter(task=task, role=SlotRole.EXPERT)
    if asked.exclude(state=SlotState.OPEN).exists():
        raise Problem(409, "expert-is-on-it", "An expert is looking at this one now. Tell them what you meant.")
    asked.delete()


def return_with_guideline(
    *, project_id: int, task_id: int, expert_id: int, token: uuid.UUID, category: str, guideline: str
) -> Guideline:
    """The expert finds that the guideline, not the annotators, is at fault: it is amended, and the task asked anew.

    The answers so far are kept under the version that they were given under, and count no more.
    """
    with transaction.atomic():
        task = _locked(project_id, task_id)
        held = Slot.objects.filter(
            task=task, annotator_id=expert_id, token=token, role=SlotRole.EXPERT, state=SlotState.LEASED
        )
        if not held.exists():
            raise services.lease_lost()
        row = Category.objects.filter(project_id=project_id, key=category, archived_at=None).first()
        if row is None:
            raise invalid("category", f"There is no category {category!r} in this project.")
        version = guidelines.amend(category=row, text=guideline, author_id=expert_id, task_id=task.pk)
        resolving.start_over(task)
    return version


def _must_be_recent(project_id: int, answer: Annotation) -> None:
    own = Annotation.objects.filter(annotator_id=answer.annotator_id, task__project_id=project_id)
    if answer.pk not in own.order_by("-created_at", "-pk").values_list("pk", flat=True)[:UNDOABLE]:
        raise Problem(
            409, "too-old", f"Only your last {UNDOABLE} answers can be taken back. Ask a lead to change this."
        )


def _must_not_have_answered(task: LabelTask, annotator_id: int) -> None:
    if Annotation.objects.filter(task=task, annotator_id=annotator_id, superseded=False).exists():
        raise Problem(409, "already-answered", "You have already answered this task. Use undo to change the answer.")


def _locked(project_id: int, task_id: int) -> LabelTask:
    task = LabelTask.objects.select_for_update(of=("self",)).filter(pk=task_id, project_id=project_id).first()
    if task is None:
        raise not_found("task")
    return task
