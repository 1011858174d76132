"""What else a person does with an item in hand: skip it, flag it, escalate it, or take an answer back."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.db import transaction

from feedback.masking import mask
from feedback.models import Inquiry, Status
from feedback.problems import Problem, not_found
from labeling import queue, services
from labeling.models import (
    Annotation,
    Escalation,
    Flag,
    LabelSource,
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
# Resolutions that an annotator's own answer brought about, and that taking it back undoes.
_OWN = (Resolution.SINGLE, Resolution.AGREED)


def release(
    *, project_id: int, task_id: int, annotator_id: int, token: uuid.UUID, known_until: datetime | None = None
) -> None:
    """Give a task back unanswered; 409 when the lease was already lost, or renewed after `known_until`."""
    if not LabelTask.objects.filter(pk=task_id, project_id=project_id).exists():
        raise not_found("task")
    if not queue.release(task_id=task_id, annotator_id=annotator_id, token=token, known_until=known_until):
        raise services.lease_lost()


def skip(*, project_id: int, task_id: int, annotator_id: int, token: uuid.UUID, reason: str = SkipReason.NONE) -> Skip:
    """Leave a task to others: it is not handed to this person again. The same skip twice is one; a lost lease is no loss."""
    with transaction.atomic():
        task = _locked(project_id, task_id)
        _must_not_have_answered(task, annotator_id)
        queue.release(task_id=task.pk, annotator_id=annotator_id, token=token)
        row, _ = Skip.objects.update_or_create(task=task, annotator_id=annotator_id, defaults={"reason": reason})
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
        return services.open_escalation(inquiry=inquiry, reasons=reasons, priority=0.5)


def undo(*, project_id: int, task_id: int, annotator_id: int, seconds: float) -> queue.Lease | None:
    """Take back one of the last ten answers or skips. The item is in the person's hand again; None where it no longer can be.

    A label that rested on the answer is withdrawn. 409 when somebody else has meanwhile decided on top of it.
    """
    with transaction.atomic():
        queue.take_turn(project_id=project_id, annotator_id=annotator_id)
        task = _locked(project_id, task_id)
        if skipped := Skip.objects.filter(task=task, annotator_id=annotator_id).first():
            return _undo_skip(skipped, seconds)
        answer = Annotation.objects.filter(task=task, annotator_id=annotator_id).select_related("slot").first()
        if answer is None:
            raise not_found("answer of yours")
        _must_be_recent(project_id, answer)
        return _undo_answer(task, answer, seconds)


def _undo_skip(skipped: Skip, seconds: float) -> queue.Lease | None:
    if skipped.reason == SkipReason.ESCALATED:
        raise Problem(409, "already-decided", "An agent has this case now. Tell them what you meant.")
    task, annotator_id = skipped.task, skipped.annotator_id
    skipped.delete()
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
    if slot is None:
        answer.delete()
        return None
    _reopen(task, answer)
    # The answer goes before its slot is leased again: a done slot without an answer is never seen by anybody.
    answer.delete()
    return queue.take_back(slot, seconds=seconds)


def _reopen(task: LabelTask, answer: Annotation) -> None:
    """The state that the task had before this answer."""
    if answer.role == SlotRole.EXPERT:
        return _revert(task, TaskState.DISPUTED, (LabelSource.EXPERT,))
    if task.state == TaskState.RESOLVED and task.resolution in _OWN:
        return _revert(task, TaskState.OPEN, (LabelSource.SINGLE, LabelSource.AGREED))
    if task.state == TaskState.DISPUTED:
        waiting = Slot.objects.select_for_update().filter(task=task, role=SlotRole.EXPERT, state=SlotState.OPEN)
        if not waiting.delete()[0]:
            raise Problem(409, "expert-is-on-it", "An expert is looking at this one now. Tell them what you meant.")
        LabelTask.objects.filter(pk=task.pk).update(state=TaskState.OPEN)
    elif task.state != TaskState.OPEN:
        raise Problem(409, "already-decided", "Somebody has meanwhile decided this one. Tell them what you meant.")
    return None


def _revert(task: LabelTask, state: TaskState, sources: tuple[LabelSource, ...]) -> None:
    task.state, task.category, task.resolution, task.resolved_at = state, None, "", None
    task.save(update_fields=["state", "category", "resolution", "resolved_at"])
    if (label := getattr(task.inquiry, "label", None)) and label.source in sources:
        services.withdraw_label(inquiry=task.inquiry)


def _must_be_recent(project_id: int, answer: Annotation) -> None:
    own = Annotation.objects.filter(annotator_id=answer.annotator_id, task__project_id=project_id)
    if answer.pk not in own.order_by("-created_at", "-pk").values_list("pk", flat=True)[:UNDOABLE]:
        raise Problem(
            409, "too-old", f"Only your last {UNDOABLE} answers can be taken back. Ask a lead to change this."
        )


def _must_not_have_answered(task: LabelTask, annotator_id: int) -> None:
    if Annotation.objects.filter(task=task, annotator_id=annotator_id).exists():
        raise Problem(409, "already-answered", "You have already answered this task. Use undo to change the answer.")


def _locked(project_id: int, task_id: int) -> LabelTask:
    task = LabelTask.objects.select_for_update(of=("self",)).filter(pk=task_id, project_id=project_id).first()
    if task is None:
        raise not_found("task")
    return task
