"""A run, repeated from its five parts: data, hyper-parameters, environment and seed give the weights again, or it is said why not.

The same bytes are promised on the same processor with the same packages, code and number of threads. Elsewhere sums may
run in another order; what differs is named.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from learning import challenging
from learning.environment import Environment
from learning.fitting import SEED, fit
from learning.models import TrainingRun
from learning.pipelines import export
from learning.restoring import restore
from serving import registry
from serving.artifacts import Bundle, CorruptBundle

PLAIN = ("python", "machine", "processor", "threads")


@dataclass(frozen=True)
class Reproduction:
    """What repeating a run gave. `found` is None where it could not be repeated: rows are gone, or texts were changed."""

    expected: str
    found: str | None
    erased: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        return self.found == self.expected


def reproduce(run: TrainingRun, report: Callable[[float, str], None]) -> Reproduction:
    """Train again what a run trained, registering nothing. Raises LookupError where the run or its snapshot is incomplete."""
    if run.model is None:
        raise LookupError(f"run {run.pk} made no version")
    expected = run.model.manifest_sha
    restored = restore(run.snapshot)
    if not restored.whole:
        return Reproduction(expected, None, restored.erased, restored.changed, environment_differences(run))
    head = fit(restored.material, report)
    if run.method:
        head = challenging.repeated(run, restored.material, head)
    with tempfile.TemporaryDirectory() as folder:
        bundle = export(head, restored.material, Path(folder))
        differs = () if bundle.sha256 == expected else _differences(run, bundle, head.hyperparameters)
    return Reproduction(expected, bundle.sha256, differs=differs)


def environment_differences(run: TrainingRun) -> tuple[str, ...]:
    """What is not as it was when the run was made, in words."""
    then, now = run.environment, asdict(Environment.here())
    packages = then.get("packages", {})
    moved = [
        f"{name} {packages.get(name)} is {new}" for name, new in now["packages"].items() if packages.get(name) != new
    ]
    plain = [f"{key} {then.get(key)!r} is {now[key]!r}" for key in PLAIN if then.get(key) != now[key]]
    code = ["the code that trains has changed"] if then.get("code") != now["code"] else []
    seed = [f"seed {run.seed} is {SEED}"] if run.seed != SEED else []
    return (*moved, *plain, *code, *seed)


def _differences(run: TrainingRun, bundle: Bundle, hyperparameters: dict[str, Any]) -> tuple[str, ...]:
    found = [*environment_differences(run), *_files(run, bundle)]
    keys = sorted({*run.hyperparameters, *hyperparameters})
    found += [f"hyper-parameter {k}" for k in keys if run.hyperparameters.get(k) != hyperparameters.get(k)]
    return tuple(found)


def _files(run: TrainingRun, bundle: Bundle) -> list[str]:
    assert run.model is not None
    try:
        before = registry.open_bundle(run.model).manifest
    except CorruptBundle as error:
        return [f"the bundle of the run does not verify: {error}"]
    files = sorted({*before["files"], *bundle.manifest["files"]})
    moved = [f"file {name}" for name in files if before["files"].get(name) != bundle.manifest["files"].get(name)]
    fields = sorted(({*before, *bundle.manifest}) - {"files", "created_at"})
    return [*moved, *(f"field {key} of the manifest" for key in fields if before.get(key) != bundle.manifest.get(key))]
