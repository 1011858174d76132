"""Batches of a project's consecutive tasks: joined as tasks are completed, judged when they are full."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from feedback import jobs
from labeling import hot, tallies
from labeling.agreement import Kappa, Pairs, by_pair, kappa_of_table, mean_kappa
from labeling.models import Annotation, Band, Batch, LabelTask, Resolution, SlotRole, TaskState
from labeling.policy import ENOUGH, decide

LONGEST = timedelta(days=7)

# Shared by all who complete tasks; whoever closes the batch waits for them, and they for him.
_OPEN_BATCH = """
SELECT id, entered_as FROM labeling_batch WHERE project_id = %(project)s AND closed_at IS NULL FOR KEY SHARE
"""
_LAST_BAND = """
SELECT band FROM labeling_batch WHERE project_id = %(project)s AND closed_at IS NOT NULL ORDER BY number DESC LIMIT 1
"""


def join(task: LabelTask) -> str:
    """Put a completed task into the open batch; returns the band in force. Without doubles there is nothing to judge.

    The caller holds the task's row.
    """
    found = _open_batch(task.project_id)
    if found is None and task.overlap < 2:
        return last_band(task.project_id)
    batch_id, band = found or _begin(task.project_id)
    LabelTask.objects.filter(pk=task.pk).update(batch_id=batch_id)
    task.batch_id = batch_id
    if task.overlap >= 2 and doubles_in(batch_id) >= ENOUGH:
        jobs.enqueue(kind="labeling.close_batch", project_id=task.project_id)
    return band


def _open_batch(project_id: int) -> tuple[int, str] | None:
    found = hot.row(_OPEN_BATCH, {"project": project_id})
    return (found[0], found[1]) if found else None


def _begin(project_id: int) -> tuple[int, str]:
    last = Batch.objects.filter(project_id=project_id).order_by("-number").first()
    band = last.band if last else Band.DISAGREEMENTS
    try:
        with transaction.atomic():
            batch = Batch.objects.create(
                project_id=project_id, number=(last.number if last else 0) + 1, entered_as=band
            )
    except IntegrityError:  # somebody else was first
        found = _open_batch(project_id)
        assert found is not None
        return found
    return batch.pk, band


def last_band(project_id: int) -> str:
    """The band in force: that of the last batch that was judged."""
    found = hot.row(_LAST_BAND, {"project": project_id})
    return str(found[0]) if found else Band.DISAGREEMENTS


def doubles_in(batch_id: int) -> int:
    """Its doubly annotated items, counted up to what a batch needs."""
    return LabelTask.objects.filter(batch_id=batch_id, overlap__gte=2)[:ENOUGH].count()


def close_due(*, project_id: int) -> Batch | None:
    """Judge the open batch when it is full or a week old, and let its band act on it; None when it is not due."""
    with transaction.atomic():
        batch = Batch.objects.select_for_update().filter(project_id=project_id, closed_at=None).first()
        if batch is None:
            return None
        doubles = LabelTask.objects.filter(batch=batch, overlap__gte=2).count()
        if doubles < ENOUGH and timezone.now() - batch.opened_at < LONGEST:
            return None
        kappa = kappa_in(batch)
        decision = decide(before=batch.entered_as, doubles=doubles, kappa=kappa)
        batch.doubles, batch.kappa, batch.low, batch.high = doubles, kappa.value, kappa.low, kappa.high
        batch.band, batch.why, batch.closed_at = decision.band, decision.why, timezone.now()
        batch.save()
    return batch


def kappa_in(batch: Batch) -> Kappa:
    """The batch's mean pairwise κ, from its counted answers."""
    rows = Annotation.objects.filter(task__batch=batch, extra=False, gold=False, role=SlotRole.ANNOTATOR)
    answers: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for task, annotator, category in rows.values_list("task_id", "annotator_id", "category_id"):
        answers[task].append((annotator, category))
    pairs = [
        Pairs(None, len(given), a, b, x, y, n)
        for given in answers.values()
        for (_, a, b, x, y), n in tallies.pairs_of(given).items()
    ]
    return mean_kappa([kappa_of_table(table) for table in by_pair(pairs).values()])


def to_review(batch: Batch) -> list[int]:
    """Tasks that the band of a batch brings before the expert: settled ones that no expert or agent has decided."""
    if batch.band != Band.ALL:
        return []
    settled = LabelTask.objects.filter(batch=batch, state=TaskState.RESOLVED)
    by_others = settled.exclude(resolution__in=[Resolution.EXPERT, Resolution.AGENT])
    return list(by_others.order_by("pk").values_list("pk", flat=True))
