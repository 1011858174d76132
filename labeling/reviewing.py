"""What follows from a judged batch: items that go to the expert, and disagreements that the weighted consensus settles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from labeling import batches, resolving
from labeling.consensus import Answers, believe, dawid_skene
from labeling.models import Annotation, Band, LabelSource, LabelTask, Resolution, SlotRole, TaskState

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
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
    posterior, tasks, categories = weigh(_rows(_latest(project_id)), _rows(waiting))
    outcomes = [_settle(task, p, categories) for task, p in zip(tasks, posterior, strict=True)]
    return {"consensus": outcomes.count("settled"), "unsure": outcomes.count("expert")}


def _waiting(project_id: int) -> list[int]:
    disputed = LabelTask.objects.filter(project_id=project_id, state=TaskState.DISPUTED)
    return list(disputed.exclude(slots__role=SlotRole.EXPERT).order_by("pk").values_list("pk", flat=True))


def _latest(project_id: int) -> list[int]:
    doubles = LabelTask.objects.filter(project_id=project_id, overlap__gte=2, state=TaskState.RESOLVED)
    return list(doubles.order_by("-resolved_at").values_list("pk", flat=True)[:LEARNED_FROM])


def _rows(tasks: Sequence[int]) -> Ints:
    """(task, annotator, category) of the answers that count."""
    counted = Annotation.objects.filter(task__in=tasks, extra=False, gold=False, role=SlotRole.ANNOTATOR)
    rows = counted.order_by("task_id", "annotator_id").values_list("task_id", "annotator_id", "category_id")
    return np.array([row for row in rows if row[2] is not None], dtype=np.int64).reshape(-1, 3)


def weigh(known: Ints, waiting: Ints) -> tuple[Floats, list[int], list[int]]:
    """Posteriors of the `waiting` items, their ids, and the categories of the columns.

    How each person errs is learned from the `known` items alone: an item must not vouch for its own answers, else the first
    of two who differ looks a little less reliable, and then a little less again.
    """
    people, categories = (np.unique(np.concatenate([known[:, k], waiting[:, k]])) for k in (1, 2))
    learned = dawid_skene(_numbered(known, people, categories)[0])
    answers, tasks = _numbered(waiting, people, categories)
    return believe(answers, learned), tasks.tolist(), categories.tolist()


def _numbered(rows: Ints, people: Ints, categories: Ints) -> tuple[Answers, Ints]:
    tasks, items = np.unique(rows[:, 0], return_inverse=True)
    answers = Answers(
        items, np.searchsorted(people, rows[:, 1]), np.searchsorted(categories, rows[:, 2]), len(tasks), len(people),
        len(categories),
    )  # fmt: skip
    return answers, tasks


def _settle(task_id: int, posterior: Floats, categories: Sequence[int]) -> str:
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
