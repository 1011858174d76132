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

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from feedback import jobs
from learning import gates
from learning.core.export import export_head
from learning.core.heads.training import TrainedHead
from learning.datasets import Dataset, collect, encoders_with_labels, take_snapshot
from learning.fitting import SEED, fit
from learning.models import RunState, Snapshot, TrainingRun
from serving import registry
from serving.artifacts import Bundle, write_bundle
from serving.head import BIAS, GRAPH, WEIGHTS, npy_bytes
from serving.models import ModelVersion, Stage
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
    shas = encoders_with_labels(project_id=project_id)
    outcomes = []
    for n, sha in enumerate(shas):

        def report(share: float, stage: str, n: int = n) -> None:
            running.report(0.05 + 0.8 * (n + share) / len(shas), stage)

        outcomes.append(_train_variant(running, sha, report))
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
    prototypes = served.prototypes(desk, served.encoder_by_sha(encoder_sha))
    head = fit(dataset, categories, prototypes, lambda share, stage: report(0.05 + 0.75 * share, stage))
    report(0.85, "exporting")
    bundle, parity = export(head, dataset, categories)
    report(0.92, "judging")
    return _judge(running, run, snapshot, dataset, head, bundle, parity)


def export(head: TrainedHead, dataset: Dataset, categories: tuple[str, ...]) -> tuple[Bundle, float]:
    """The head as a bundle under its manifest hash, with the parity measured on the labeled embeddings (≤ 1,000)."""
    check_on = dataset.x[:1000]
    graph, parity = export_head(
        head.features, weights=head.weights, bias=head.bias, temperature=head.temperature, categories=categories,
        check_on=check_on,
    )  # fmt: skip
    bundle = write_bundle(
        Path(settings.ENSO_ARTIFACTS),
        {GRAPH: graph, WEIGHTS: npy_bytes(head.weights), BIAS: npy_bytes(head.bias)},
        {
            "kind": head.kind, "categories": list(categories), "encoder_sha256": dataset.encoder_sha,
            "temperature": head.temperature, "preprocessing": {"normalise": "unit"},
        },
    )  # fmt: skip
    return bundle, parity


def _judge(
    running: jobs.Running,
    run: TrainingRun,
    snapshot: Snapshot,
    dataset: Dataset,
    head: TrainedHead,
    bundle: Bundle,
    parity: float,
) -> dict[str, Any]:
    """Register the version, hold it against the one that serves, and promote it or say why not; fenced throughout."""
    candidate = gates.Candidate(head=head, categories=bundle.categories, parity=parity, bundle_bytes=bundle.size)
    results = gates.judge(candidate, dataset=dataset, serving=_serving(dataset))
    passed = all(r.passed for r in results)
    with transaction.atomic():
        running.hold()
        model = registry.register(
            project_id=dataset.project_id, bundle=bundle, encoder_sha=dataset.encoder_sha,
            metrics=gates.metrics(candidate, dataset), gates=[asdict(r) for r in results],
            stage=Stage.STAGING if passed else Stage.REJECTED,
            lineage={
                "weights": bundle.sha256, "data": snapshot.sha256, "labels": snapshot.labels, "hyperparameters": head.hyperparameters,
                "environment": run.environment, "seed": run.seed, "run": run.pk,
            },
        )  # fmt: skip
        if passed:
            registry.promote(version_id=model.pk)
        TrainingRun.objects.filter(pk=run.pk).update(
            state=RunState.PROMOTED if passed else RunState.REJECTED, model=model, metrics=model.metrics,
            hyperparameters=head.hyperparameters, finished_at=timezone.now(),
        )  # fmt: skip
    return {"run": run.pk, "state": RunState.PROMOTED if passed else RunState.REJECTED, "model": model.number}


def _serving(dataset: Dataset) -> gates.Serving | None:
    """The version in production with its head, or None; a damaged bundle cannot be compared with."""
    model: ModelVersion | None = registry.in_production(project_id=dataset.project_id, encoder_sha=dataset.encoder_sha)
    return gates.Serving.load(model) if model else None
