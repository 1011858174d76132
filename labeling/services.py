"""Use cases of labeling/: opening tasks, taking answers, settling labels, resolving escalations."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from feedback import outbox
from feedback import services as feedback_services
from feedback.models import Category, Inquiry, Membership, Role
from feedback.problems import Problem, invalid, not_found
from labeling import queue
from labeling.models import (
    Annotation,
    Escalation,
    EscalationState,
    Label,
    LabelSource,
    LabelTask,
    Resolution,
    Slot,
    SlotRole,
    SlotState,
    TaskKind,
    TaskState,
)


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
    """Queue an inquiry for labeling. An audit task is blind: whatever is suggested is not kept with it."""
    blind = kind == TaskKind.AUDIT
    task = LabelTask.objects.create(
        project_id=inquiry.project_id, inquiry=inquiry, kind=kind, overlap=overlap, priority=priority, reason=reason,
        suggestion_id=None if blind else suggestion_id, propensity=propensity if blind else None,
    )  # fmt: skip
    queue.open_slots(task)
    return task


def open_escalation(*, inquiry: Inquiry, reasons: list[dict[str, Any]], priority: float) -> Escalation:
    """A customer waits for a person. One open escalation per inquiry: a second call returns the first."""
    escalation, opened = Escalation.objects.get_or_create(
        inquiry=inquiry, state=EscalationState.OPEN,
        defaults={"project_id": inquiry.project_id, "reasons": reasons, "priority": priority},
    )  # fmt: skip
    if opened:
        _announce("escalation.opened", escalation)
    return escalation


def _announce(kind: str, escalation: Escalation) -> None:
    outbox.publish(kind=kind, project_id=escalation.project_id, payload={"escalation": escalation.pk})


def slot_roles(*, user_id: int, project_id: int) -> list[str]:
    """Which slots a person may claim, experts' first; 403 for somebody who does not label in this project."""
    roles = set(Membership.objects.filter(user_id=user_id, project_id=project_id).values_list("role", flat=True))
    if Role.EXPERT in roles:
        return [SlotRole.EXPERT, SlotRole.ANNOTATOR] if Role.ANNOTATOR in roles else [SlotRole.EXPERT]
    if Role.ANNOTATOR in roles:
        return [SlotRole.ANNOTATOR]
    raise Problem(
        403, "missing-role", "Labeling here needs the role annotator or expert. Ask a lead of the project for it."
    )


@dataclass(frozen=True)
class Answer:
    """One submitted annotation."""

    task_id: int
    annotator_id: int
    token: uuid.UUID
    category: str
    saw_suggestion: bool = False
    seconds: float | None = None


def annotate(*, project_id: int, answer: Answer) -> Annotation:
    """Take an answer on a lease, and settle the task when it was the last one needed. The same answer twice is one.

    An answer whose lease was lost is kept as `extra` and never counted.
    """
    category = Category.objects.filter(project_id=project_id, key=answer.category, archived_at=None).first()
    if category is None:
        raise invalid("category", f"There is no category {answer.category!r} in this project.")
    with transaction.atomic():
        task = LabelTask.objects.select_for_update().filter(pk=answer.task_id, project_id=project_id).first()
        if task is None:
            raise not_found("task")
        if known := Annotation.objects.filter(task=task, annotator_id=answer.annotator_id).first():
            return _repeat(known, answer, category)
        slot = Slot.objects.filter(
            task=task, annotator_id=answer.annotator_id, token=answer.token, state=SlotState.LEASED
        ).first()
        annotation = Annotation(
            task=task, slot=slot, annotator_id=answer.annotator_id, category=category, token=answer.token, extra=slot is None,
            role=slot.role if slot else SlotRole.ANNOTATOR, saw_suggestion=answer.saw_suggestion, seconds=answer.seconds,
        )  # fmt: skip
        annotation.save(force_insert=True)
        if slot is not None:
            Slot.objects.filter(pk=slot.pk).update(state=SlotState.DONE, lease_expires_at=None)
            _settle(task, annotation)
    return annotation


def _repeat(known: Annotation, answer: Answer, category: Category) -> Annotation:
    if known.token == answer.token and known.category_id == category.pk:
        return known
    raise Problem(409, "already-answered", "You have already answered this task. Use undo to change the answer.")


def _settle(task: LabelTask, annotation: Annotation) -> None:
    """Resolve, dispute or go on, by the answers that count. The caller holds the task's row."""
    if task.state == TaskState.RESOLVED:
        return None
    if annotation.role == SlotRole.EXPERT:
        return _resolve(task, annotation.category_id, Resolution.EXPERT, LabelSource.EXPERT)
    answers = list(
        Annotation.objects.filter(task=task, extra=False, role=SlotRole.ANNOTATOR).values_list("category_id", flat=True)
    )
    if len(answers) < task.overlap:
        return None
    if len(set(answers)) == 1:
        single = task.overlap == 1
        source = LabelSource.SINGLE if single else LabelSource.AGREED
        return _resolve(task, answers[0], Resolution.SINGLE if single else Resolution.AGREED, source)
    LabelTask.objects.filter(pk=task.pk).update(state=TaskState.DISPUTED)
    return queue.open_expert_slot(task)


def _resolve(task: LabelTask, category_id: int, resolution: Resolution, source: LabelSource) -> None:
    _close(task, category_id, resolution)
    seen = Annotation.objects.filter(task=task, extra=False, saw_suggestion=True).exists()
    settle_label(inquiry=task.inquiry, category_id=category_id, source=source, saw_suggestion=seen)


def _close(task: LabelTask, category_id: int, resolution: Resolution) -> None:
    queue.close_open_slots(task)
    task.state, task.category_id, task.resolution, task.resolved_at = (
        TaskState.RESOLVED,
        category_id,
        resolution,
        timezone.now(),
    )
    task.save(update_fields=["state", "category", "resolution", "resolved_at"])


def settle_label(*, inquiry: Inquiry, category_id: int, source: LabelSource, saw_suggestion: bool = False) -> Label:
    """Write (or revise) the settled category of an inquiry, and announce it. The caller holds the transaction."""
    label = Label.objects.select_for_update().filter(inquiry=inquiry).first()
    if label is None:
        label = Label(inquiry=inquiry, project_id=inquiry.project_id, revision=0)
    label.category_id, label.source, label.saw_suggestion = category_id, source, saw_suggestion
    label.revision += 1
    label.settled_at = timezone.now()
    label.save()
    feedback_services.settle_inquiry(inquiry_id=inquiry.pk, category_id=category_id)
    outbox.publish(
        kind="label.resolved",
        project_id=inquiry.project_id,
        payload={"inquiry": str(inquiry.pk), "revision": label.revision},
    )
    return label


def lease_lost() -> Problem:
    return Problem(409, "lease-lost", "Your lease on this task ran out. Take the next one.", field="token")


def resolve_escalation(*, escalation_id: int, agent_id: int, category_id: int, reply_text: str) -> Escalation:
    """An agent has answered: the category is a label, and a label task for the same inquiry is settled by it."""
    with transaction.atomic():
        escalation = Escalation.objects.select_for_update().select_related("inquiry").get(pk=escalation_id)
        if escalation.state == EscalationState.RESOLVED:
            return escalation
        escalation.state, escalation.category_id, escalation.reply_text = (
            EscalationState.RESOLVED,
            category_id,
            reply_text,
        )
        escalation.assignee_id, escalation.resolved_at = agent_id, timezone.now()
        escalation.save()
        settle_label(inquiry=escalation.inquiry, category_id=category_id, source=LabelSource.AGENT)
        _settle_by_agent(escalation.inquiry, category_id)
        _announce("escalation.resolved", escalation)
    return escalation


def _settle_by_agent(inquiry: Inquiry, category_id: int) -> None:
    """Nobody needs to label what an agent has decided. An audit task stays: it must be answered blind, as it was drawn."""
    open_ones = LabelTask.objects.select_for_update().exclude(kind=TaskKind.AUDIT)
    task = open_ones.filter(inquiry=inquiry, state__in=[TaskState.OPEN, TaskState.DISPUTED]).first()
    if task is not None:
        _close(task, category_id, Resolution.AGENT)


def withdraw_label(*, inquiry: Inquiry) -> None:
    """A settled category is no longer one. The row stays, without a category. The caller holds the transaction."""
    label = Label.objects.select_for_update().filter(inquiry=inquiry).first()
    if label is None or label.category_id is None:
        return
    label.category, label.revision, label.settled_at = None, label.revision + 1, timezone.now()
    label.save()
    outbox.publish(
        kind="label.withdrawn",
        project_id=inquiry.project_id,
        payload={"inquiry": str(inquiry.pk), "revision": label.revision},
    )


def import_label(*, inquiry: Inquiry, category_id: int) -> Label:
    """A label that a project already had."""
    with transaction.atomic():
        return settle_label(inquiry=inquiry, category_id=category_id, source=LabelSource.IMPORTED)
