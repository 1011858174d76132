"""Use cases of labeling/: opening tasks, taking answers, settling labels, resolving escalations."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from feedback import outbox
from feedback.models import Category, Inquiry, Membership, Project, Role
from feedback.problems import Problem, invalid, not_found
from labeling import days, guidelines, queue, resolving
from labeling.models import (
    Annotation,
    Escalation,
    EscalationState,
    GoldItem,
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
from labeling.ranking import RISK, language_of, required_overlap, share_of
from labeling.settling import settle_label, withdraw_label

__all__ = [
    "Answer",
    "annotate",
    "import_label",
    "open_escalation",
    "open_task",
    "resolve_escalation",
    "settle_label",
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
    blind = kind == TaskKind.AUDIT
    suggestion = None if blind or suggestion_id is None else Category.objects.get(pk=suggestion_id)
    double_share, patience = Project.objects.values_list("double_share", "patience_days").get(pk=inquiry.project_id)
    task = LabelTask.objects.create(
        project_id=inquiry.project_id, inquiry=inquiry, kind=kind, priority=priority, reason=reason, suggestion=suggestion,
        risk=RISK if suggestion and suggestion.high_risk else 0.0, propensity=propensity if blind else None,
        overlap=required_overlap(
            wanted=overlap, category=suggestion.overlap if suggestion else None, double_share=double_share,
            draw=share_of(inquiry.pk, "double"),
        ),
    )  # fmt: skip
    skill = suggestion.pk if suggestion and suggestion.restricted else 0
    queue.open_slots(task, language=language_of(inquiry.locale), skill=skill, patience_days=patience)
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
    category: str | None  # None: an expert finds that none fits
    saw_suggestion: bool = False
    seconds: float | None = None


def annotate(*, project_id: int, answer: Answer) -> Annotation:
    """Take an answer on a lease, and settle the task when it was the last one needed. The same answer twice is one.

    An answer whose lease was lost is kept as `extra` and never counted; one to a known item is judged and never counted.
    """
    category_id = _category_id(project_id, answer.category)
    with transaction.atomic():
        task = LabelTask.objects.select_for_update().filter(pk=answer.task_id, project_id=project_id).first()
        if task is None:
            raise not_found("task")
        own = Annotation.objects.filter(task=task, annotator_id=answer.annotator_id)
        if known := own.filter(token=answer.token).first() or own.filter(superseded=False).first():
            return _repeat(known, answer, category_id)
        slot = Slot.objects.filter(
            task=task, annotator_id=answer.annotator_id, token=answer.token, state=SlotState.LEASED
        ).first()
        annotation = _stored(task, slot, answer, category_id)
        days.add(annotation, project_id=project_id)
        if slot is not None:
            Slot.objects.filter(pk=slot.pk).update(state=SlotState.DONE, lease_expires_at=None)
        if task.state != TaskState.RESOLVED:
            if task.overlap > 1 or annotation.extra:
                queue.bar(task)
            if annotation.counts:
                resolving.settle(task, annotation)
    return annotation


def _category_id(project_id: int, key: str | None) -> int | None:
    if key is None:
        return None
    found = (
        Category.objects.filter(project_id=project_id, key=key, archived_at=None).values_list("pk", flat=True).first()
    )
    if found is None:
        raise invalid("category", f"There is no category {key!r} in this project.")
    return found


def _stored(task: LabelTask, slot: Slot | None, answer: Answer, category_id: int | None) -> Annotation:
    role = slot.role if slot else SlotRole.ANNOTATOR
    if category_id is None and role != SlotRole.EXPERT:
        raise invalid("category", "Choose a category, or skip the item: only an expert may find that none fits.")
    annotation = Annotation(
        task=task, slot=slot, annotator_id=answer.annotator_id, category_id=category_id, token=answer.token, role=role,
        extra=slot is None, saw_suggestion=answer.saw_suggestion, seconds=answer.seconds,
        guideline_id=guidelines.current(task.project_id),
    )  # fmt: skip
    if slot is not None and slot.gold:
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
        resolving.close(task, category_id, Resolution.AGENT)


def import_label(*, inquiry: Inquiry, category_id: int) -> Label:
    """A label that a project already had."""
    with transaction.atomic():
        return settle_label(inquiry=inquiry, category_id=category_id, source=LabelSource.IMPORTED)
