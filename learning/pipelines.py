"""From labels to a version in production: snapshot → train → export → parity → register → gates → promote.

Each encoder variant that read labeled inquiries has its own head. A step that is done is not done again when a killed
job resumes: the snapshot and the bundle lie under their hashes, and a finished run is skipped. Nothing half-written is
ever visible: a bundle appears by rename, a version serves by one transaction.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from numpy.typing import NDArray

from feedback import jobs
from feedback.models import Category, Fold
from learning.cascades import calibrate
from learning.core.export import head_graph
from learning.core.heads.base import LiveBase
from learning.core.heads.journal import Change, held_from
from learning.core.heads.training import TrainedHead
from learning.datasets import Dataset, collect, encoders_with_labels, take_snapshot
from learning.fitting import SEED, fit
from learning.gates.judge import metrics
from learning.judging import judged
from learning.live import LIVE_FILE, Follower, behind
from learning.models import RunState, Snapshot, TrainingRun
from serving import registry, rollouts, students, zero_shot
from serving.artifacts import Bundle, write_bundle
from serving.head import BIAS, GRAPH, WEIGHTS, npy_bytes
from serving.models import LiveState, ModelVersion, Stage
from serving.served import served

PACKAGES = ("numpy", "scipy", "torch", "onnx", "onnxruntime")
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Environment:
    """What the numbers may depend on besides data, parameters and seed."""

    python: str
    machine: str
    packages: dict[str, str]

    @classmethod
    def here(cls) -> Environment:
        return cls(platform.python_version(), platform.machine(), {p: version(p) for p in PACKAGES})


def train_project(running: jobs.Running) -> dict[str, Any]:
    """Handler of `train` jobs: one run per encoder variant, then the open tasks are scored anew."""
    from learning.queueing import rescore_tasks

    project_id = running.job.project_id
    running.report(0.02, "collecting labels")
    read = encoders_with_labels(project_id=project_id)
    students_of = [s.encoder_sha for s in students.in_production(project_id=project_id) if s.teacher_sha in read]
    shas = [*read, *students_of]
    outcomes = []
    for n, sha in enumerate(shas):

        def report(share: float, stage: str, n: int = n) -> None:
            running.report(0.05 + 0.8 * (n + share) / len(shas), stage)

        outcomes.append(_train_variant(running, sha, report))
    running.report(0.87, "choosing when to hand on")
    calibrate(project_id=project_id)
    running.report(0.9, "scoring open tasks")
    return {"runs": outcomes, "rescored": rescore_tasks(project_id=project_id)}


def _train_variant(running: jobs.Running, encoder_sha: str, report: Progress) -> dict[str, Any]:
    done = TrainingRun.objects.filter(job=running.job, encoder_sha=encoder_sha).exclude(state=RunState.RUNNING).first()
    if done is not None:
        return {"run": done.pk, "state": done.state}
    dataset = collect(project_id=running.job.project_id, encoder_sha=encoder_sha)
    desk = served.desk(running.job.project_id)
    categories = tuple(desk.categories)
    snapshot = take_snapshot(dataset, categories)
    run, _ = TrainingRun.objects.get_or_create(
        job=running.job, encoder_sha=encoder_sha,
        defaults={"project_id": dataset.project_id, "snapshot": snapshot, "seed": SEED, "environment": asdict(Environment.here())},
    )  # fmt: skip
    # A resumed run goes on with the labels that it began with only if they are still the same; else with the new ones.
    TrainingRun.objects.filter(pk=run.pk).update(snapshot=snapshot)
    texts = served.prototypes(desk, served.encoder_by_sha(encoder_sha))
    head = fit(dataset, categories, texts, lambda share, stage: report(0.05 + 0.75 * share, stage))
    report(0.85, "exporting")
    bundle = export(head, dataset, categories, texts)
    report(0.92, "judging")
    return _judge(running, run, snapshot, dataset, head, bundle)


def export(
    head: TrainedHead, dataset: Dataset, categories: tuple[str, ...], texts: list[NDArray[np.float32]]
) -> Bundle:
    """The head as a bundle under its manifest hash. Whether it says what was trained is for the gates to judge."""
    return write_bundle(
        Path(settings.ENSO_ARTIFACTS),
        {
            GRAPH: head_graph(head.features), WEIGHTS: npy_bytes(head.weights), BIAS: npy_bytes(head.bias),
            **_live_base(head, dataset, texts),
        },
        {
            "kind": head.kind, "categories": list(categories), "encoder_sha256": dataset.encoder_sha,
            "temperature": head.temperature, "preprocessing": {"normalise": "unit"},
        },
    )  # fmt: skip


def _live_base(head: TrainedHead, dataset: Dataset, texts: list[NDArray[np.float32]]) -> dict[str, bytes]:
    """The file from which the head goes on following labels; none for a head that no labels have shaped."""
    if "ridge" not in head.hyperparameters.get("members", {}):
        return {}
    rows = [(r, x) for r, x in zip(dataset.rows, dataset.x, strict=True) if r.fold == Fold.TRAIN]
    held = [held_from(Change(r.revision, str(r.inquiry), r.category, x, r.weight), live=False) for r, x in rows]
    prototypes = np.stack([zero_shot.prototype(t) for t in texts])
    return {LIVE_FILE: LiveBase.of(head, held, prototypes=prototypes).to_bytes()}


def _judge(
    running: jobs.Running, run: TrainingRun, snapshot: Snapshot, dataset: Dataset, head: TrainedHead, bundle: Bundle
) -> dict[str, Any]:
    """Register the version, hold it against the one that serves, and promote it or say why not; fenced throughout."""
    evidence, results = judged(dataset, head, bundle.sha256)
    measured = {} if evidence is None else {**metrics(head, evidence), "labels": len(dataset.rows)}
    passed = all(r.passed for r in results)
    lineage = _lineage(run, snapshot, head, bundle)
    follower = _replayed(dataset, bundle, lineage) if passed else None
    with transaction.atomic():
        running.hold()
        model = registry.register(
            project_id=dataset.project_id, bundle=bundle, encoder_sha=dataset.encoder_sha,
            metrics=measured, gates=[asdict(r) for r in results],
            stage=Stage.STAGING if passed else Stage.REJECTED, lineage=lineage,
        )  # fmt: skip
        if passed:
            rollouts.release(version_id=model.pk)
        if follower is not None:
            follower.adopt(model)
        TrainingRun.objects.filter(pk=run.pk).update(
            state=RunState.PROMOTED if passed else RunState.REJECTED, model=model, metrics=model.metrics,
            hyperparameters=head.hyperparameters, finished_at=timezone.now(),
        )  # fmt: skip
    return {"run": run.pk, "state": RunState.PROMOTED if passed else RunState.REJECTED, "model": model.number}


def _lineage(run: TrainingRun, snapshot: Snapshot, head: TrainedHead, bundle: Bundle) -> dict[str, Any]:
    """The five parts of a run, and under which ids its categories were known."""
    ids = Category.objects.filter(project_id=run.project_id, key__in=bundle.categories)
    return {
        "weights": bundle.sha256, "data": snapshot.sha256, "labels": snapshot.labels, "hyperparameters": head.hyperparameters,
        "environment": run.environment, "seed": run.seed, "run": run.pk, "category_ids": dict(ids.values_list("key", "pk")),
    }  # fmt: skip


def _replayed(dataset: Dataset, bundle: Bundle, lineage: dict[str, Any]) -> Follower | None:
    """The new head with the labels that moved while it was trained, ready to be published together with it."""
    version = ModelVersion(
        project_id=dataset.project_id, encoder_sha=dataset.encoder_sha, manifest_sha=bundle.sha256, lineage=lineage
    )
    if LIVE_FILE not in bundle.manifest["files"] or not behind(version):
        return None
    return Follower.prepared(version, LiveState())
