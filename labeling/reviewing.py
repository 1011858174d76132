"""What follows from a judged batch: items that go to the expert, and disagreements that the weighted consensus settles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from django.db import transaction

from labeling import batches, resolving
from labeling.consensus import Answers, Consensus, dawid_skene
from labeling.models import Annotation, Band, LabelSource, LabelTask, Resolution, SlotRole, TaskState

# The answers that the confusion matrices are learned from: the latest items that two or more people answered.
LEARNED_FROM = 5_000
# A consensus that is less sure than this goes to the expert after all.
SURE = 0.7


def close_batch(*, project_id: int) -> dict[str, Any]:
    """Judge the open batch when it is due. Running it again does nothing."""
    batch = batches.close_due(project_id=project_id)
    if batch is None:
        return {"closed": None}
    reviewed = [pk for pk in batches.to_review(batch) if _bring_to_expert(pk)]
    settled: dict[str, Any] = {}
    if batch.band == Band.NONE:
        _free_waiting(batch.pk)
        settled = settle_by_consensus(project_id=project_id)
    return {"closed": batch.number, "band": batch.band, "to_expert": len(reviewed), **settled}


def _bring_to_expert(task_id: int) -> bool:
    with transaction.atomic():
        task = LabelTask.objects.select_for_update().get(pk=task_id)
        if task.state != TaskState.RESOLVED or task.resolution in (Resolution.EXPERT, Resolution.AGENT):
            return False
        resolving.to_expert(task)
    return True


def _free_waiting(batch_id: int) -> None:
    """The band asks no expert: disagreements of the batch that no expert has taken yet wait for the consensus instead."""
    disputed = LabelTask.objects.filter(batch=batch_id, state=TaskState.DISPUTED).exclude(kind="audit")
    for task_id in list(disputed.values_list("pk", flat=True)):
        with transaction.atomic():
            task = LabelTask.objects.select_for_update().select_related("project").get(pk=task_id)
            if task.state == TaskState.DISPUTED and not resolving.in_review_sample(task):
                task.slots.filter(role=SlotRole.EXPERT, state="open").delete()


def settle_by_consensus(*, project_id: int) -> dict[str, Any]:
    """Settle the disputed tasks that no expert was asked about; those where the consensus is not sure go to the expert."""
    waiting = _waiting(project_id)
    if not waiting:
        return {"consensus": 0, "unsure": 0}
    rows = _rows(project_id, waiting)
    found, tasks, categories = weigh(rows)
    place = {task: i for i, task in enumerate(tasks)}
    outcomes = [_settle(pk, found.posterior[place[pk]], categories) for pk in waiting if pk in place]
    return {"consensus": outcomes.count("settled"), "unsure": outcomes.count("expert")}


def _waiting(project_id: int) -> list[int]:
    disputed = LabelTask.objects.filter(project_id=project_id, state=TaskState.DISPUTED)
    return list(disputed.exclude(slots__role=SlotRole.EXPERT).order_by("pk").values_list("pk", flat=True))


def _rows(project_id: int, waiting: Sequence[int]) -> list[tuple[int, int, int]]:
    """(task, annotator, category) of the latest items with several answers, and of those that wait."""
    latest = LabelTask.objects.filter(project_id=project_id, overlap__gte=2, state=TaskState.RESOLVED)
    ids = [*latest.order_by("-resolved_at").values_list("pk", flat=True)[:LEARNED_FROM], *waiting]
    counted = Annotation.objects.filter(task__in=ids, extra=False, gold=False, role=SlotRole.ANNOTATOR)
    rows = counted.order_by("task_id", "annotator_id").values_list("task_id", "annotator_id", "category_id")
    return [(task, annotator, category) for task, annotator, category in rows if category is not None]


def weigh(rows: Sequence[tuple[int, int, int]]) -> tuple[Consensus, list[int], list[int]]:
    """The weighted consensus of (item, annotator, category) rows, with the items and categories in its order."""
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    (tasks, i), (people, a), (categories, c) = (np.unique(column, return_inverse=True) for column in table.T)
    answers = Answers(i, a, c, len(tasks), len(people), len(categories))
    return dawid_skene(answers), tasks.tolist(), categories.tolist()


def _settle(task_id: int, posterior: np.ndarray, categories: Sequence[int]) -> str:
    best = int(posterior.argmax())
    with transaction.atomic():
        task = LabelTask.objects.select_for_update().get(pk=task_id)
        if task.state != TaskState.DISPUTED or task.slots.filter(role=SlotRole.EXPERT).exists():
            return "gone"
        if posterior[best] < SURE:
            resolving.to_expert(task)
            return "expert"
        resolving.resolve(task, categories[best], Resolution.CONSENSUS, LabelSource.CONSENSUS)
    return "settled"
