"""Runs, metrics and versions in an MLflow server, beside the registry and never in its place.

`ENSO_MLFLOW_URL` names the server; without it nothing happens. A project is an experiment `enso/<slug>` and a registered
model of that name; a run carries the tag `enso.run`, by which a killed mirroring finds its own again. Each run is told
anew when its digest moves: when it ends, and when its version's stage, aliases or bar change. What goes out are figures,
hyper-parameters, hashes, cards and bundles: no text of a customer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from django.conf import settings

from feedback import jobs
from feedback.models import Project
from learning import cards
from learning.models import MirroredRun, RunState, TrainingRun
from serving import registry
from serving.artifacts import MANIFEST, CorruptBundle
from serving.head import GRAPH, VECTORS
from serving.models import ModelVersion

if TYPE_CHECKING:
    from learning.mlflow_api import RemoteRun, Server

RUN_TAG = "enso.run"
BUNDLE = "bundle"
FAILED = (RunState.FAILED, RunState.REJECTED)
LONGEST = 500  # characters of a parameter or a tag


@dataclass(frozen=True)
class Told:
    """All that MLflow is told of a run: when it moves, its digest does."""

    name: str
    state: str
    started_ms: int
    ended_ms: int
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return hashlib.sha256(msgspec.json.encode(asdict(self), order="sorted")).hexdigest()


def enabled() -> bool:
    return bool(settings.ENSO_MLFLOW_URL)


def waiting(project_id: int) -> list[TrainingRun]:
    """Ended runs that the server has not been told of as they stand, oldest first."""
    rows = TrainingRun.objects.filter(project_id=project_id).exclude(state=RunState.RUNNING)
    known = {m.run_id: m for m in MirroredRun.objects.filter(run__project_id=project_id, server=server_name())}
    ended = rows.select_related("snapshot", "model", "project").prefetch_related("model__aliases").order_by("pk")
    return [r for r in ended if (m := known.get(r.pk)) is None or m.digest != told(r).digest]


def mirror(running: jobs.Running) -> dict[str, Any]:
    """Handler of `mlflow` jobs. Each run is told whole and then recorded; a later attempt goes on with those that are left."""
    from learning.mlflow_api import Server  # its HTTP client costs every process that knows this job .2 s

    project = Project.objects.get(pk=running.job.project_id)
    runs = waiting(project.pk) if enabled() else []
    with Server(settings.ENSO_MLFLOW_URL, settings.ENSO_MLFLOW_TOKEN) as server:
        experiment = server.experiment(f"enso/{project.slug}") if runs else ""
        for n, run in enumerate(runs):
            running.report(n / len(runs), f"run {run.pk}")
            _mirror(running, server, experiment, run)
    return {"mirrored": [run.pk for run in runs]}


def server_name() -> str:
    """The server without what a URL may hold of a password."""
    return str(settings.ENSO_MLFLOW_URL).rpartition("@")[2][:200]


def told(run: TrainingRun) -> Told:
    """What a run is to MLflow."""
    ended = run.finished_at or run.created_at
    model = run.model
    tags = {
        "enso.state": run.state, "enso.reason": run.reason, "enso.encoder": run.encoder_sha, "enso.snapshot": run.snapshot.sha256,
        "enso.code": str(run.environment.get("code", "")),
    }  # fmt: skip
    aliases: tuple[str, ...] = ()
    if model is not None:
        tags |= {
            "enso.version": str(model.number), "enso.bundle": model.manifest_sha, "enso.stage": model.stage, "enso.kind": model.kind,
            "enso.barred": model.barred, "enso.gates": ", ".join(f"{g['name']}: {_word(g)}" for g in model.gates),
        }  # fmt: skip
        aliases = (*sorted(a.name for a in model.aliases.all()), *_stage_alias(model))
    return Told(
        f"{run.project.slug} run {run.pk}", run.state, _ms(run.created_at), _ms(ended), params=_params(run),
        metrics=dict(_numbers(run.metrics)), tags={k: v[:LONGEST] for k, v in tags.items()}, aliases=aliases,
    )  # fmt: skip


def _mirror(running: jobs.Running, server: Server, experiment: str, run: TrainingRun) -> None:
    what = told(run)
    remote = server.run(experiment, tag=(RUN_TAG, _identity(run)), name=what.name, started_ms=what.started_ms)
    step = run.model.number if run.model else 0
    server.log(remote, params=what.params, metrics=what.metrics, tags=what.tags, at_ms=what.ended_ms, step=step)
    server.dataset(
        remote, name=run.project.slug, digest=run.snapshot.sha256[:36], source=f"snapshot {run.snapshot.sha256}"
    )
    uploaded = _upload(running, server, remote, run)
    version = _version(server, remote, run, what) if uploaded and run.model is not None else ""
    server.end(remote, status="FAILED" if run.state in FAILED else "FINISHED", ended_ms=what.ended_ms)
    MirroredRun.objects.update_or_create(
        run=run,
        defaults={"server": server_name(), "remote_run": remote.id, "remote_version": version, "digest": what.digest, "uploaded": uploaded},
    )  # fmt: skip


def _upload(running: jobs.Running, server: Server, remote: RemoteRun, run: TrainingRun) -> bool:
    """Report, cards and bundle; the bundle once, since its bytes never change. False where the server takes no artifacts."""
    small = [("data/report.html", run.report), ("data/card.md", cards.dataset_card(run.snapshot))]
    small += [("model_card.md", cards.model_card(run.model))] if run.model else []
    for path, text in small:
        if text and not server.upload(remote, path, text.encode()):
            return False
    known = MirroredRun.objects.filter(run=run, server=server_name(), remote_run=remote.id, uploaded=True)
    if run.model is None or known.exists():
        return True
    try:
        bundle = registry.open_bundle(run.model)
        # A pool of customers' vectors stays where erasure finds it.
        kept_here = {GRAPH} if VECTORS in bundle.manifest["preprocessing"] else set()
        for name in sorted(bundle.manifest["files"].keys() - kept_here):
            running.report(running.job.progress, f"run {run.pk}: {name}")
            server.upload(remote, f"{BUNDLE}/{name}", bundle.read(name))
    except (CorruptBundle, OSError):
        return False  # what cannot be verified here is not handed on
    return server.upload(remote, f"{BUNDLE}/{MANIFEST}", msgspec.json.encode(bundle.manifest))


def _version(server: Server, remote: RemoteRun, run: TrainingRun, what: Told) -> str:
    name = f"enso.{run.project.slug}"
    tags = {k: v for k, v in what.tags.items() if k in ("enso.version", "enso.stage", "enso.bundle", "enso.barred")}
    number = server.version(name, remote, folder=BUNDLE, tags=tags)
    server.name(name, what.aliases, number)
    return number


def _identity(run: TrainingRun) -> str:
    """The same run wherever it is mirrored from; another installation's run of this number is another."""
    return f"{run.pk}-{run.snapshot.sha256[:12]}-{_ms(run.created_at)}"


def _stage_alias(model: ModelVersion) -> tuple[str, ...]:
    """The versions that serve and wait, of the encoder that they are for."""
    return (f"{model.stage}-{model.encoder_sha[:8]}",) if model.stage in ("production", "staging") else ()


def _params(run: TrainingRun) -> dict[str, str]:
    rows = dict(_flat(run.hyperparameters)) | {"seed": run.seed, "labels": run.snapshot.labels}
    packages = {f"package.{k}": v for k, v in run.environment.get("packages", {}).items()}
    return {_key(k): str(v)[:LONGEST] for k, v in (rows | packages).items()}


def _numbers(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in _flat(metrics):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield _key(key), float(value)


def _flat(values: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values by dotted path; weights of single categories are left out."""
    for key, value in values.items():
        if isinstance(value, Mapping) and key != "pseudo_weights":
            yield from _flat(value, f"{under}{key}.")
        elif not isinstance(value, Mapping):
            yield f"{under}{key}", value


def _key(name: str) -> str:
    """What MLflow takes as a name: letters, digits, and a few signs."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)[:250]


def _word(gate: Mapping[str, Any]) -> str:
    return "passed" if gate.get("passed") else "failed"


def _ms(moment: Any) -> int:
    return int(1000 * moment.timestamp())
