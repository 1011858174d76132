"""Which open tasks come first: three purposes share the head of the queue, as priorities.

*Selection* is the project's query strategy: what teaches most. *Risk* is what may belong to a category of high risk although the model
thinks otherwise. *Diversity* is what is least like anything labeled or picked. A batch (as many as trigger the next training,
and some to spare) is mixed from these by the project's shares; the other open tasks follow by margin. Ranks are spread over
(0, 1], where audit tasks lie uniformly: so a share of audit tasks comes up all along. Audit tasks themselves, and those outside
the train fold, are never moved. Before anything is ranked, what the model has become sure of is answered and asked of nobody.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from feedback import jobs
from feedback.models import Fold, Project
from labeling import placing, retiring
from labeling.models import LabelTask, TaskKind, TaskState
from learning import selection
from learning.datasets import collect
from learning.purposes import in_json, mix, others, said
from learning.selection.batch import BatchRules, compose
from serving import late
from serving.engine import ServedHead, from_bytes
from serving.models import Embedding
from serving.served import served

# Re-scored after a promotion: the head of the queue, and the oldest that it has left behind.
TOP, OLDEST = 10_000, 1_000
SPARE = 1.5  # batches are this much longer than what triggers a training: labels come in while it runs
SMALLEST_BATCH = 50
LOW_63_BITS = 2**63 - 1

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class OpenTasks:
    """Open selection tasks of one encoder variant, in the order of their ids. ``lifted`` are high already because of their risk."""

    ids: Ints
    x: Floats
    lifted: NDArray[np.bool_]


@dataclass(frozen=True)
class Ranked:
    """Task ids in their new order, and reasons of those that a purpose has placed."""

    ids: Ints
    reasons: dict[int, dict[str, Any]]


def rescore_tasks(*, project_id: int) -> int:
    """Rank the open tasks anew with the model that serves; returns how many priorities changed."""
    project = Project.objects.get(pk=project_id)
    served.desk(project_id)
    served.refresh()
    for sha in late.encoders_of_late_answers(project_id=project_id):
        late.ask_about_doubted(project_id=project_id, encoder_sha=sha, most=TOP)
    return sum(_rescore(project, sha, tasks) for sha, tasks in _open_by_encoder(project_id).items())


def _rescore(project: Project, encoder_sha: str, tasks: OpenTasks) -> int:
    head = head_of(project.pk, encoder_sha)
    beliefs = head.head.predict(tasks.x)
    state = _state(project, encoder_sha, tasks, beliefs, head)
    lifted = np.concatenate([tasks.lifted, np.zeros(len(state.ids) - len(tasks.ids), bool)])
    sure = late.sure_of(project_id=project.pk, encoder_sha=encoder_sha, probabilities=beliefs)
    # No more than have to be asked anyway: where the model is sure of nearly everything, little is asked for learning's sake.
    wanted = min(batch_size(project), int((~sure).sum()) if project.retire_sure else len(tasks.ids))
    ranked = _ranked(project, state, lifted, head, wanted)
    gone: list[int] = []
    if project.retire_sure:
        gone = late.answer_sure(
            project_id=project.pk, encoder_sha=encoder_sha, tasks=tasks.ids.tolist(), probabilities=beliefs,
            keep=ranked.reasons,
        )  # fmt: skip
    return place(asked(ranked, np.setdiff1d(tasks.ids, gone)))


def _state(
    project: Project, encoder_sha: str, tasks: OpenTasks, beliefs: Floats, head: ServedHead
) -> selection.SelectionState:
    """The open tasks, and behind them what was answered late: a customer who has an answer waits no more, but the label may still be
    the one that teaches most. (Left out, it cost half a point to a point of accuracy at 1,000 labels of BANKING77.)"""
    covered = covered_by(project.pk, encoder_sha, tasks.x.shape[1])
    ids, x = tasks.ids, tasks.x
    if project.retire_sure:
        more, vectors = late.answered(project_id=project.pk, encoder_sha=encoder_sha, most=TOP)
        if len(more):
            ids, x = np.concatenate([ids, more]), np.concatenate([x, vectors])
            beliefs = np.concatenate([beliefs, head.head.predict(vectors)])
    return selection.SelectionState(x, ids, *covered, probabilities=beliefs)


def asked(ranked: Ranked, open_ids: Ints) -> Ranked:
    """The order of what is to be asked: open tasks, and retired ones that a purpose has placed, which are opened again."""
    closed = ranked.ids[~np.isin(ranked.ids, open_ids)].tolist()
    with transaction.atomic():
        again = retiring.ask_again(task_ids=[pk for pk in closed if pk in ranked.reasons], priority=0.0)
    ids = ranked.ids[np.isin(ranked.ids, np.concatenate([open_ids, np.array(again, np.int64)]))]
    return Ranked(ids, {pk: ranked.reasons[pk] for pk in ids.tolist() if pk in ranked.reasons})


def place(ranked: Ranked) -> int:
    """Write an order and its reasons; returns how many priorities changed."""
    values = priorities_of(ranked.ids)
    changed = placing.reprioritise(priorities=dict(zip(ranked.ids.tolist(), values.tolist(), strict=True)))
    placing.explain(reasons=ranked.reasons)
    return changed


def priorities_of(order: Ints) -> NDArray[np.float64]:
    """Spread over (0, 1], the first highest."""
    return np.asarray(1.0 - np.arange(len(order)) / max(len(order), 1))


def _ranked(
    project: Project, state: selection.SelectionState, lifted: NDArray[np.bool_], head: ServedHead, wanted: int
) -> Ranked:
    # The same queue gives the same picks: the seed is what has been labeled so far.
    rng = np.random.default_rng(len(state.labeled))
    picked, reasons = np.empty(0, np.int64), {}
    if wanted:
        # Audits are drawn on arrival, so no batch holds any.
        picks = compose(state, selection.get(project.strategy), wanted, rng, BatchRules(audit=0.0))
        picked = state.ids[picks.indices]
        grounds = (in_json(project.strategy, reason, head.categories) for reason in picks.reasons)
        reasons = dict(zip(picked.tolist(), grounds, strict=True))
    found = mix(project, state, picked, lifted, head, wanted)
    rest = others(project.strategy, state, found.ids, picked, rng)
    return Ranked(np.concatenate([found.ids, rest]), said(found, reasons))


def select_if_large(*, project_id: int) -> bool:
    """Have the whole queue looked at where `rescore_tasks` has seen only its head and its oldest tasks."""
    waiting = LabelTask.objects.filter(project_id=project_id, state=TaskState.OPEN, kind=TaskKind.SELECTION)
    if waiting[: TOP + OLDEST + 1].count() <= TOP + OLDEST:
        return False
    jobs.enqueue(kind="select", project_id=project_id)
    return True


def batch_size(project: Project) -> int:
    """Tasks that a strategy is asked for: as many as trigger the next training, and some to spare."""
    return max(int(SPARE * project.retrain_after_labels), SMALLEST_BATCH)


def head_of(project_id: int, encoder_sha: str) -> ServedHead:
    return served.head(served.desk(project_id), served.encoder_by_sha(encoder_sha))


def covered_by(project_id: int, encoder_sha: str, dimension: int) -> tuple[Floats, Ints, Ints]:
    """Vectors [L, d], labels [L] and names [L] of everything labeled under this encoder."""
    dataset = collect(project_id=project_id, encoder_sha=encoder_sha)
    x = dataset.x if len(dataset.rows) else np.zeros((0, dimension), np.float32)
    labels = dataset.labels(tuple(served.desk(project_id).categories))
    return x, labels, covered_ids([row.inquiry for row in dataset.rows])


def covered_ids(inquiries: Sequence[uuid.UUID]) -> Ints:
    """A number below 0 for each labeled inquiry, the same every time, so that it names nothing in the pool."""
    return np.array([-1 - (i.int & LOW_63_BITS) for i in inquiries], dtype=np.int64)


def _open_by_encoder(project_id: int) -> dict[str, OpenTasks]:
    own = LabelTask.objects.filter(
        project_id=project_id, state=TaskState.OPEN, kind=TaskKind.SELECTION, inquiry__fold=Fold.TRAIN
    )
    ids = set(own.order_by("-priority", "id").values_list("pk", flat=True)[:TOP])
    ids |= set(own.order_by("created_at", "id").values_list("pk", flat=True)[:OLDEST])
    rows = Embedding.objects.filter(inquiry__task__in=ids).order_by("inquiry__task__id")
    groups: dict[str, list[tuple[int, bytes, float]]] = {}
    for task, sha, vector, risk in rows.values_list(
        "inquiry__task__id", "encoder_sha", "vector", "inquiry__task__risk"
    ):
        groups.setdefault(sha, []).append((task, bytes(vector), risk))
    return {
        sha: OpenTasks(
            np.array([t for t, _, _ in found], dtype=np.int64), from_bytes([v for _, v, _ in found]),
            np.array([risk > 0 for _, _, risk in found]),
        )
        for sha, found in groups.items()
    }  # fmt: skip
