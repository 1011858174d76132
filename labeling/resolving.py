"""How a task ends: agreed, by weighted consensus, or by the expert's decision; and how it is opened again.

All functions here expect that the caller holds the task's row.
"""

from __future__ import annotations

from django.utils import timezone

from feedback import jobs
from labeling import batches, queue, tallies
from labeling.models import (
    Annotation,
    LabelSource,
    LabelTask,
    Resolution,
    Slot,
    SlotRole,
    SlotState,
    TaskKind,
    TaskState,
)
from labeling.policy import Review, review_of
from labeling.ranking import share_of
from labeling.settling import settle_label, withdraw_label

# Resolutions that the annotators' own answers brought about.
OWN = (Resolution.SINGLE, Resolution.AGREED, Resolution.CONSENSUS)
_OWN_SOURCES = (LabelSource.SINGLE, LabelSource.AGREED, LabelSource.CONSENSUS)


def settle(task: LabelTask, annotation: Annotation) -> None:
    """Resolve, hand to the expert, or go on, by the answers that count, of which `annotation` is the latest."""
    if annotation.role == SlotRole.EXPERT:
        return _by_expert(task, annotation.category_id)
    if task.overlap == 1 and annotation.category_id is not None:
        return _complete(task, [annotation.category_id]) if task.state == TaskState.OPEN else None
    answers = counted(task)
    tallies.move(task, before=[a for a in answers if a[0] != annotation.annotator_id], after=answers)
    if len(answers) < task.overlap or task.state != TaskState.OPEN:
        return None
    return _complete(task, [category for _, category in answers])


def counted(task: LabelTask) -> list[tuple[int, int]]:
    """(annotator, category) of the answers that count, annotators in order."""
    rows = Annotation.objects.filter(task=task, extra=False, gold=False, role=SlotRole.ANNOTATOR)
    return [(a, c) for a, c in rows.order_by("annotator_id").values_list("annotator_id", "category_id") if c]


def _complete(task: LabelTask, categories: list[int]) -> None:
    """All answers are in: the policy of the batch says who has the last word."""
    band = batches.join(task)
    agreed = len(set(categories)) == 1
    review = review_of(
        band, agreed=agreed, single=task.overlap == 1, audit=task.kind == TaskKind.AUDIT, sampled=in_review_sample(task)
    )
    if review == Review.EXPERT:
        return to_expert(task)
    if review == Review.CONSENSUS:
        LabelTask.objects.filter(pk=task.pk).update(state=TaskState.DISPUTED)
        jobs.enqueue(kind="labeling.consensus", project_id=task.project_id)
        return None
    single = task.overlap == 1
    return resolve(
        task, categories[0], Resolution.SINGLE if single else Resolution.AGREED,
        LabelSource.SINGLE if single else LabelSource.AGREED,
    )  # fmt: skip


def in_review_sample(task: LabelTask) -> bool:
    """Whether the expert sees it however well the annotators agree; fixed per inquiry."""
    return share_of(task.inquiry_id, "review") < task.project.review_share


def _by_expert(task: LabelTask, category_id: int | None) -> None:
    if category_id is not None:
        return resolve(task, category_id, Resolution.EXPERT, LabelSource.EXPERT)
    # No category fits: the task asks nobody any more, and there is no label to learn from.
    queue.close_open_slots(task)
    task.state, task.category, task.resolution, task.resolved_at = (
        TaskState.RETIRED,
        None,
        Resolution.NONE,
        timezone.now(),
    )
    task.save(update_fields=["state", "category", "resolution", "resolved_at"])
    return withdraw_label(inquiry=task.inquiry)


def resolve(task: LabelTask, category_id: int, resolution: Resolution, source: LabelSource) -> None:
    close(task, category_id, resolution)
    seen = Annotation.objects.filter(task=task, extra=False, gold=False, saw_suggestion=True).exists()
    settle_label(inquiry=task.inquiry, category_id=category_id, source=source, saw_suggestion=seen)


def close(task: LabelTask, category_id: int, resolution: Resolution) -> None:
    queue.close_open_slots(task)
    task.state, task.category_id, task.resolution = TaskState.RESOLVED, category_id, resolution
    task.resolved_at = timezone.now()
    task.save(update_fields=["state", "category", "resolution", "resolved_at"])


def to_expert(task: LabelTask) -> None:
    """The task waits for an expert; a label that it already has stays until the expert decides."""
    LabelTask.objects.filter(pk=task.pk).update(
        state=TaskState.DISPUTED, category=None, resolution="", resolved_at=None
    )
    task.state, task.category, task.resolution, task.resolved_at = TaskState.DISPUTED, None, "", None
    queue.open_expert_slot(task)


def reopen(task: LabelTask, state: TaskState) -> None:
    """Back to `state`, without the category that rested on the annotators' answers or (from the expert) on the decision."""
    task.state, task.category, task.resolution, task.resolved_at = state, None, "", None
    task.save(update_fields=["state", "category", "resolution", "resolved_at"])
    sources = (LabelSource.EXPERT,) if state == TaskState.DISPUTED else _OWN_SOURCES
    if (label := getattr(task.inquiry, "label", None)) and label.source in sources:
        withdraw_label(inquiry=task.inquiry)


def start_over(task: LabelTask) -> None:
    """Ask all annotators anew, under an amended guideline. What they answered before is kept, but counts no more."""
    answers = counted(task)
    tallies.move(task, before=answers, after=[])
    Annotation.objects.filter(task=task, gold=False).update(slot=None, extra=True, superseded=True)
    Slot.objects.filter(task=task, role=SlotRole.EXPERT).delete()
    Slot.objects.filter(task=task, role=SlotRole.ANNOTATOR, gold=False).update(
        state=SlotState.OPEN, annotator=None, token=None, lease_expires_at=None, reserved=False
    )
    LabelTask.objects.filter(pk=task.pk).update(batch=None)
    task.batch = None
    reopen(task, TaskState.OPEN)
    queue.bar(task)
