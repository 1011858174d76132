"""A queue of tasks with vectors, and selections over all of it."""

from __future__ import annotations

import numpy as np

from feedback import jobs
from feedback.models import Fold, Inquiry, Project
from feedback.services import NewInquiry, record_inquiry
from labeling import services
from labeling.models import LabelTask, TaskKind
from learning import pools, selecting, selection
from learning.models import Selection
from serving.engine import to_bytes
from serving.models import Embedding
from serving.served import served

TASKS = 120


def unit(rng: np.random.Generator) -> np.ndarray:
    x = rng.standard_normal(384)
    return (x / np.linalg.norm(x)).astype(np.float32)


def add_tasks(project: Project, count: int, *, seed: int = 0, kind: TaskKind = TaskKind.SELECTION) -> list[LabelTask]:
    rng, sha = np.random.default_rng(seed), served.encoder_for("a")[0].sha256
    tasks = []
    for n in range(count):
        new = NewInquiry(text=f"{kind} {seed} {n}", request_sha=b"0" * 32)
        inquiry = record_inquiry(
            project_id=project.pk, app_id=None, new=new, status="waiting", category_id=None, reply_id=None
        )
        Embedding.objects.create(inquiry=inquiry, encoder_sha=sha, vector=to_bytes(unit(rng)))
        chance = 0.5 if kind == TaskKind.AUDIT else None
        tasks.append(
            services.open_task(inquiry=inquiry, kind=kind, overlap=1, priority=0.4, reason={}, propensity=chance)
        )
    Inquiry.objects.filter(task__in=tasks).update(fold=Fold.TRAIN)
    return tasks


def begun(project: Project) -> Selection:
    (found,) = selecting.begin(project_id=project.pk)
    return found


def run_all(found: Selection) -> Selection:
    for part in found.parts.order_by("-number"):
        jobs.run(part.job_id)
    found.refresh_from_db()
    if found.picker_id:
        jobs.run(found.picker_id)
        found.refresh_from_db()
    return found


def order(project: Project) -> list[int]:
    own = LabelTask.objects.filter(project=project, kind=TaskKind.SELECTION, priority__gt=0)
    return list(own.order_by("-priority", "id").values_list("pk", flat=True))


def on_one_machine(project: Project, name: str, count: int, seed: int = 0) -> list[int]:
    ids = pools.open_ids(project_id=project.pk, encoder_sha=served.encoder_for("a")[0].sha256)
    encoder = served.encoder_for("a")[0]
    x = pools.vectors(encoder_sha=encoder.sha256, ids=ids, dimension=encoder.dim)
    head = served.head(served.desk(project.pk), encoder).head
    nothing = np.zeros((0, encoder.dim), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    unit_rows = x / np.linalg.norm(x, axis=1, keepdims=True)
    state = selection.SelectionState(x, ids, *nothing, probabilities=head.predict(unit_rows))
    return ids[selection.get(name).select(state, count, np.random.default_rng(seed)).indices].tolist()
