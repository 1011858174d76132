"""Which open tasks come first: the project's query strategy, as priorities of the queue.

The strategy picks a batch (as many as trigger the next training, and some to spare); its picks come first, the other open
tasks follow by margin. Ranks are spread over (0, 1], where audit tasks lie uniformly: so a share of audit tasks comes up
all along. Audit tasks themselves, and those outside the train fold, are never moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback import jobs
from feedback.models import Fold, Project
from labeling import queue
from labeling.models import LabelTask, TaskKind, TaskState
from learning import selection
from learning.datasets import collect
from serving.engine import from_bytes
from serving.models import Embedding
from serving.served import served

# Re-scored after a promotion: the head of the queue, and the oldest that it has left behind.
TOP, OLDEST = 10_000, 1_000
SPARE = 1.5  # batches are this much longer than what triggers a training: labels come in while it runs
SMALLEST_BATCH = 50


@dataclass(frozen=True)
class OpenTasks:
    """Open selection tasks of one encoder variant, in the order of their ids."""

    ids: NDArray[np.int64]
    x: NDArray[np.float32]


def rescore_tasks(*, project_id: int) -> int:
    """Rank the open tasks anew with the model that serves; returns how many priorities changed."""
    project = Project.objects.get(pk=project_id)
    served.desk(project_id)
    served.refresh()
    return sum(_rank(project, sha, tasks) for sha, tasks in _open_by_encoder(project_id).items())


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


def _rank(project: Project, encoder_sha: str, tasks: OpenTasks) -> int:
    state, categories = _state(project.pk, encoder_sha, tasks)
    wanted = batch_size(project)
    # The same queue gives the same picks: the seed is what has been labeled so far.
    rng = np.random.default_rng(len(state.labeled))
    picks = selection.get(project.strategy).select(state, min(wanted, len(tasks.ids)), rng)
    order = np.concatenate([picks.indices, _others(project.strategy, state, picks.indices, rng)])
    priorities = 1.0 - np.arange(len(order)) / max(len(order), 1)
    changed = queue.reprioritise(priorities=dict(zip(tasks.ids[order].tolist(), priorities.tolist(), strict=True)))
    queue.explain(
        reasons={
            int(tasks.ids[i]): in_json(project.strategy, r, categories)
            for i, r in zip(picks.indices, picks.reasons, strict=True)
        }
    )
    return changed


def _state(project_id: int, encoder_sha: str, tasks: OpenTasks) -> tuple[selection.SelectionState, tuple[str, ...]]:
    """The pool as the strategies see it: beliefs of the head that serves, and everything labeled under this encoder."""
    desk = served.desk(project_id)
    encoder = served.encoder_by_sha(encoder_sha)
    head = served.head(desk, encoder)
    dataset = collect(project_id=project_id, encoder_sha=encoder_sha)
    labeled = dataset.x if len(dataset.rows) else np.zeros((0, tasks.x.shape[1]), np.float32)
    # Labels of other rows than the pool's: negative ids cannot collide with task ids.
    labeled_ids = -1 - np.arange(len(dataset.rows), dtype=np.int64)
    state = selection.SelectionState(
        tasks.x, tasks.ids, labeled, dataset.labels(tuple(desk.categories)), labeled_ids,
        probabilities=head.head.predict(tasks.x),
    )  # fmt: skip
    return state, head.categories


def _others(
    strategy: str, state: selection.SelectionState, picked: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """What the strategy did not pick: at random where it draws at random, else least certain first."""
    rest = np.setdiff1d(np.arange(len(state.ids)), picked)
    if strategy == "random" or state.probabilities is None or state.probabilities.shape[1] < 2:
        return rng.permutation(rest)
    top = np.sort(np.asarray(state.probabilities)[rest], axis=1)[:, -2:]
    return rest[np.argsort(top[:, 1] - top[:, 0], kind="stable")]


def in_json(strategy: str, reason: selection.Reason, categories: tuple[str, ...]) -> dict[str, Any]:
    """The pick's ground as the task keeps it: categories by key, since positions change with the model."""
    said = reason.as_json()
    between = [{"category": categories[c], "share": round(p, 3)} for c, p in said.pop("split")]
    return {"rule": strategy, "between": between, **said}


def _open_by_encoder(project_id: int) -> dict[str, OpenTasks]:
    own = LabelTask.objects.filter(
        project_id=project_id, state=TaskState.OPEN, kind=TaskKind.SELECTION, inquiry__fold=Fold.TRAIN
    )
    ids = set(own.order_by("-priority", "id").values_list("pk", flat=True)[:TOP])
    ids |= set(own.order_by("created_at", "id").values_list("pk", flat=True)[:OLDEST])
    rows = Embedding.objects.filter(inquiry__task__in=ids).order_by("inquiry__task__id")
    groups: dict[str, list[tuple[int, bytes]]] = {}
    for task, sha, vector in rows.values_list("inquiry__task__id", "encoder_sha", "vector"):
        groups.setdefault(sha, []).append((task, bytes(vector)))
    return {
        sha: OpenTasks(np.array([t for t, _ in found], dtype=np.int64), from_bytes([v for _, v in found]))
        for sha, found in groups.items()
    }
