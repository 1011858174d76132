"""Which open tasks come first: the project's query strategy, as priorities of the queue."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Fold, Project
from labeling import queue
from labeling.models import LabelTask, TaskKind, TaskState
from serving.engine import Desk, from_bytes
from serving.models import Embedding
from serving.served import served

# Re-scored after a promotion: the head of the queue, and the oldest that it has left behind.
TOP, OLDEST = 10_000, 1_000


def rescore_tasks(*, project_id: int) -> int:
    """Rank the open tasks anew with the model that serves; returns how many priorities changed.

    Ranks are spread over (0, 1], where audit tasks lie uniformly: so a share of audit tasks comes up all along.
    Audit tasks themselves, and those outside the train fold, are never moved.
    """
    project = Project.objects.get(pk=project_id)
    desk = served.desk(project_id)
    served.refresh()
    changed = 0
    for sha, rows in _open_by_encoder(project_id).items():
        x = from_bytes([v for _, _, v in rows])
        scores = _scores(project.strategy, desk, sha, x)
        order = np.argsort(-scores, kind="stable")
        ranks = np.empty(len(order))
        ranks[order] = 1.0 - np.arange(len(order)) / max(len(order), 1)
        changed += queue.reprioritise(priorities={task: float(r) for (task, _, _), r in zip(rows, ranks, strict=True)})
    return changed


def _open_by_encoder(project_id: int) -> dict[str, list[tuple[int, uuid.UUID, bytes]]]:
    own = LabelTask.objects.filter(
        project_id=project_id, state=TaskState.OPEN, kind=TaskKind.SELECTION, inquiry__fold=Fold.TRAIN
    )
    ids = set(own.order_by("-priority", "id").values_list("pk", flat=True)[:TOP])
    ids |= set(own.order_by("created_at", "id").values_list("pk", flat=True)[:OLDEST])
    rows = Embedding.objects.filter(inquiry__task__in=ids).order_by("inquiry__task__id")
    groups: dict[str, list[tuple[int, uuid.UUID, bytes]]] = {}
    for task, inquiry, sha, vector in rows.values_list("inquiry__task__id", "inquiry_id", "encoder_sha", "vector"):
        groups.setdefault(sha, []).append((task, inquiry, bytes(vector)))
    return groups


def _scores(strategy: str, desk: Desk, encoder_sha: str, x: NDArray[np.float32]) -> NDArray[Any]:
    """Higher is picked earlier."""
    if strategy == "random":
        return np.random.default_rng(len(x)).random(len(x))
    p = served.head(desk, served.encoder_by_sha(encoder_sha)).head.predict(x)
    top = np.sort(p, axis=1)[:, -2:]
    return 1.0 - (top[:, -1] - top[:, 0]) if top.shape[1] == 2 else np.zeros(len(x))
