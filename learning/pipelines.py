"""From labels to a version in production: snapshot → validate → train → export → register → gates → promote or wait.

Each encoder variant that read labeled inquiries has its own head. A step that is done is not done again when a killed
job resumes: snapshot, fitted head and bundle lie under their hashes (learning/resuming.py), and a finished run is
skipped. Nothing half-written is ever visible: a bundle appears by rename, a version serves by one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from feedback import jobs
from feedback.models import Category, Fold
from learning import challenging, guarding, resuming
from learning.cascades import calibrate
from learning.core.export import head_graph
from learning.core.heads.base import LiveBase
from learning.core.heads.journal import Change, held_from
from learning.core.heads.training import TrainedHead
from learning.datasets import Dataset, collect, encoders_with_labels
from learning.drift_jobs import record_guard
from learning.environment import Environment
from learning.fitting import SEED, fit, pool_of
from learning.gates.judge import metrics
from learning.judging import judged
from learning.live import LIVE_FILE, Follower, behind
from learning.models import RunState, Snapshot, TrainingRun, TrainingSettings
from learning.snapshots import Material, Texts, take_snapshot
from learning.validation import InvalidData, validate
from serving import registry, rollouts, storage, students, zero_shot
from serving.artifacts import Bundle, write_bundle
from serving.head import BIAS, GRAPH, VECTORS, WEIGHTS, npy_bytes
from serving.models import LiveState, ModelVersion, Stage
from serving.served import served

Progress = Callable[[float, str], None]


def train_project(running: jobs.Running) -> dict[str, Any]:
    """Handler of `train` jobs: one run per encoder variant, then the open tasks are scored anew."""
    from learning.queueing import rescore_tasks, select_if_large

    project_id = running.job.project_id
    running.report(0.02, "collecting labels")
    served.refresh()  # a category that was added a moment ago is one to be learned
    read = encoders_with_labels(project_id=project_id)
    students_of = [s.encoder_sha for s in students.in_production(project_id=project_id) if s.teacher_sha in read]
    shas = [*read, *students_of]
    outcomes = []
    for n, sha in enumerate(shas):

        def report(share: float, stage: str, n: int = n) -> None:
            running.report(0.05 + 0.8 * (n + share) / len(shas), stage)

        outcomes.append(_train_unerased(running, sha, report))
    running.report(0.87, "choosing when to hand on")
    calibrate(project_id=project_id)
    running.report(0.9, "scoring open tasks")
    rescored = rescore_tasks(project_id=project_id)
    select_if_large(project_id=project_id)
    return {"runs": outcomes, "rescored": rescored}


@dataclass(frozen=True)
class _Candidate:
    """A version that is registered and not judged yet."""

    run: TrainingRun
    model: ModelVersion
    head: TrainedHead
    bundle: Bundle


class _Erased(Exception):
    """Somebody whose texts this training has seen was erased meanwhile: what came of it must not serve."""


def _train_unerased(running: jobs.Running, encoder_sha: str, report: Progress) -> dict[str, Any]:
    """Train a variant; begun anew, without them, where somebody was erased while it ran. Twice at most: then the job fails, lets the
    erasure that is under way come to its end on this worker, and is run again."""
    for _ in range(2):
        try:
            return _train_variant(running, encoder_sha, report)
        except _Erased:
            _forget(running, encoder_sha)
    return _train_variant(running, encoder_sha, report)


def _forget(running: jobs.Running, encoder_sha: str) -> None:
    """Versions of this job that are not judged go, and with them their bundles."""
    resuming.forget(running, encoder_sha)
    for version in ModelVersion.objects.filter(run__job=running.job, encoder_sha=encoder_sha, stage=Stage.NONE):
        with transaction.atomic():
            running.hold()
            version.delete()
        _delete_bundle(version.manifest_sha)


def _delete_bundle(sha256: str) -> None:
    """It may hold vectors of texts, so it goes with the last version that names it."""
    if not ModelVersion.objects.filter(manifest_sha=sha256).exists():
        storage.remove_folder(Path(settings.ENSO_ARTIFACTS) / sha256)


def _hold_unerased(snapshots: Iterable[Snapshot]) -> None:
    """Raise `_Erased` where one of these has a successor. An erasure that comes now waits for the end of the transaction, and then finds
    the versions that were registered in it."""
    rows = Snapshot.objects.select_for_update(no_key=True).filter(pk__in={s.pk for s in snapshots}).order_by("pk")
    if any(row.successor_id is not None for row in rows):
        raise _Erased


def _train_variant(running: jobs.Running, encoder_sha: str, report: Progress) -> dict[str, Any]:
    done = TrainingRun.objects.filter(job=running.job, encoder_sha=encoder_sha, method="")
    if (ended := done.exclude(state=RunState.RUNNING).first()) is not None:
        return {"run": ended.pk, "state": ended.state}
    material, snapshot = _material(running, encoder_sha)
    run = _begun(running, snapshot)
    report(0.02, "checking the labels")
    try:
        validate(run, material)
    except InvalidData as error:
        return {"run": run.pk, "state": RunState.FAILED, "why": str(error)}
    head = resuming.kept_head(running, encoder_sha, snapshot)
    if head is None:
        head = fit(material, lambda share, stage: report(0.05 + 0.65 * share, stage))
        resuming.keep_head(running, encoder_sha, head)
    report(0.75, "exporting")
    candidates = [_candidate(running, run, snapshot, head, material)]
    if (challenger := challenging.trained(running, material, snapshot, head, report)) is not None:
        own = _begun(running, snapshot, challenger.method)
        run.refresh_from_db(fields=["validation", "report"])
        TrainingRun.objects.filter(pk=own.pk).update(validation=run.validation, report=run.report)
        rival = _candidate(running, own, snapshot, challenger.head, material)
        challenging.keep(running, own, challenger)
        candidates.insert(0 if challenger.won else 1, rival)
    report(0.92, "judging")
    outcome = _judge(running, candidates, material.dataset)
    resuming.forget(running, encoder_sha)
    return outcome


def _candidate(
    running: jobs.Running, run: TrainingRun, snapshot: Snapshot, head: TrainedHead, material: Material
) -> _Candidate:
    bundle = export(head, material)
    storage.put(bundle.path)  # before a row names it
    try:
        version = _registered(running, run, snapshot, head, bundle)
    except _Erased:
        _delete_bundle(bundle.sha256)
        raise
    return _Candidate(run, version, head, bundle)


def _guarded(running: jobs.Running, dataset: Dataset) -> Dataset:
    """The labels with weights under which the model does not learn mostly from itself; what was measured is kept."""
    weighed, found, ceiling = guarding.guarded(dataset)
    record_guard(found, running, dataset.encoder_sha, ceiling)
    return weighed


def _material(running: jobs.Running, encoder_sha: str) -> tuple[Material, Snapshot]:
    """What to train on. A resumed run goes on with what it began with only if its labels are still the same."""
    dataset = _guarded(running, collect(project_id=running.job.project_id, encoder_sha=encoder_sha))
    if (known := resuming.begun(running, dataset)) is not None:
        return known
    desk = served.desk(running.job.project_id)
    texts = served.prototypes(desk, served.encoder_by_sha(encoder_sha))
    material = Material(dataset, tuple(desk.categories), texts, *pool_of(dataset))
    snapshot = take_snapshot(material)
    resuming.keep_snapshot(running, dataset, snapshot)
    return material, snapshot


def _begun(running: jobs.Running, snapshot: Snapshot, method: str = "") -> TrainingRun:
    known = {"snapshot": snapshot, "environment": asdict(Environment.here())}
    run, _ = TrainingRun.objects.update_or_create(
        job=running.job, encoder_sha=snapshot.encoder_sha, method=method, defaults=known,
        create_defaults={
            **known, "project_id": snapshot.project_id, "seed": SEED, "reason": running.job.params.get("reason", "hand"),
        },
    )  # fmt: skip
    return run


def export(head: TrainedHead, material: Material, root: Path | None = None) -> Bundle:
    """The head as a bundle under its manifest hash. Whether it says what was trained is for the gates to judge."""
    return write_bundle(
        root or Path(settings.ENSO_ARTIFACTS),
        {
            GRAPH: head_graph(head.features, head.neighbours), WEIGHTS: npy_bytes(head.served_weights), BIAS: npy_bytes(head.bias),
            **_live_base(head, material.dataset, material.texts),
        },
        {
            "kind": head.kind, "categories": list(material.categories), "encoder_sha256": material.dataset.encoder_sha,
            "temperature": head.temperature,
            "preprocessing": {"normalise": "unit", "features": asdict(head.features), **_looked_up(head)},
        },
    )  # fmt: skip


def _looked_up(head: TrainedHead) -> dict[str, Any]:
    """What the manifest says of a pool that lies in the graph: vectors of customers' texts, which erasure must find."""
    return {} if head.neighbours is None else {VECTORS: len(head.neighbours.rows)}


def _live_base(head: TrainedHead, dataset: Dataset, texts: Texts) -> dict[str, bytes]:
    """The file from which the head goes on following labels; none for a head that no labels have shaped."""
    if "ridge" not in head.hyperparameters.get("members", {}):
        return {}
    rows = [(r, x) for r, x in zip(dataset.rows, dataset.x, strict=True) if r.fold == Fold.TRAIN]
    held = [held_from(Change(r.revision, str(r.inquiry), r.category, x, r.weight), live=False) for r, x in rows]
    prototypes = np.stack([zero_shot.prototype(t) for t in texts])
    return {LIVE_FILE: LiveBase.of(head, held, prototypes=prototypes).to_bytes()}


def _registered(
    running: jobs.Running, run: TrainingRun, snapshot: Snapshot, head: TrainedHead, bundle: Bundle
) -> ModelVersion:
    """The version, not judged yet. What an attempt that was killed here registered is taken up, or taken back."""
    with transaction.atomic():
        running.hold()
        _hold_unerased([snapshot])
        known = ModelVersion.objects.filter(run=run, stage=Stage.NONE).first()
        if known is not None and known.manifest_sha == bundle.sha256:
            return known
        if known is not None:
            known.delete()
        model = registry.register(
            project_id=run.project_id, bundle=bundle, encoder_sha=run.encoder_sha, stage=Stage.NONE,
            lineage=_lineage(run, snapshot, head, bundle),
        )  # fmt: skip
        TrainingRun.objects.filter(pk=run.pk).update(model=model, hyperparameters=head.hyperparameters)
    return model


def _judge(running: jobs.Running, candidates: Sequence[_Candidate], dataset: Dataset) -> dict[str, Any]:
    """Hold each version against the one that serves. The first that passes, the best first, is released or waits; the others
    that pass could serve. All is judged before anything is written, in one fenced transaction."""
    found = [(c, *judged(dataset, c.head, c.bundle.sha256)) for c in candidates]
    passed = [c for c, _, results in found if all(r.passed for r in results)]
    chosen = passed[0] if passed else None
    waits = chosen is not None and TrainingSettings.of(dataset.project_id).approval
    follower = _replayed(chosen.model, chosen.bundle) if chosen is not None and not waits else None
    serves = False
    with transaction.atomic():
        running.hold()
        _hold_unerased(c.run.snapshot for c in candidates)
        for c, evidence, results in found:
            measured = {} if evidence is None else {**metrics(c.head, evidence), "labels": len(dataset.rows)}
            gates = [asdict(r) for r in results]
            registry.judge(version_id=c.model.pk, passed=c in passed, metrics=measured, gates=gates)
            TrainingRun.objects.filter(pk=c.run.pk).update(metrics=measured, finished_at=timezone.now())
        if chosen is not None and waits:
            registry.stage(version_id=chosen.model.pk)
        elif chosen is not None:
            serves = rollouts.release(version_id=chosen.model.pk)
        if chosen is not None and follower is not None:
            follower.adopt(chosen.model)
        # A challenger that an attempt before this one trained, and that the project wants no longer.
        left = TrainingRun.objects.filter(job=running.job, encoder_sha=dataset.encoder_sha, state=RunState.RUNNING)
        left.exclude(pk__in=[c.run.pk for c in candidates]).update(state=RunState.FAILED, finished_at=timezone.now())
        for c in candidates:
            state = _state(c in passed, chosen=c is chosen, serves=serves)
            TrainingRun.objects.filter(pk=c.run.pk).update(state=state)
    shown = chosen or candidates[0]
    return {"run": shown.run.pk, "state": _state(bool(passed), chosen=True, serves=serves), "model": shown.model.number}


def _state(passed: bool, *, chosen: bool, serves: bool) -> RunState:
    if not passed:
        return RunState.REJECTED
    if not chosen:
        return RunState.BEATEN
    return RunState.PROMOTED if serves else RunState.STAGED


def _lineage(run: TrainingRun, snapshot: Snapshot, head: TrainedHead, bundle: Bundle) -> dict[str, Any]:
    """The five parts of a run, and under which ids its categories were known."""
    ids = Category.objects.filter(project_id=run.project_id, key__in=bundle.categories)
    return {
        "weights": bundle.sha256, "data": snapshot.sha256, "labels": snapshot.labels, "hyperparameters": head.hyperparameters,
        "environment": run.environment, "seed": run.seed, "run": run.pk, "reason": run.reason,
        "category_ids": dict(ids.values_list("key", "pk")),
    }  # fmt: skip


def _replayed(version: ModelVersion, bundle: Bundle) -> Follower | None:
    """The new head with the labels that moved while it was trained, ready to be published together with it."""
    if LIVE_FILE not in bundle.manifest["files"] or not behind(version):
        return None
    return Follower.prepared(version, LiveState())
