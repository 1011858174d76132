"""A project's challenger within a training: whether there is one, where it goes on, and what is kept of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from feedback import jobs
from learning import challengers, continual_states, resuming
from learning.continual_states import Before
from learning.core.continual.state import from_bytes, to_bytes
from learning.core.heads.training import TrainedHead
from learning.models import Challenger, ContinualState, Snapshot, TrainingRun, TrainingSettings
from learning.snapshots import Material

log = logging.getLogger(__name__)
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Trained:
    """A challenger's head, and the state under ``sha256`` that the next training goes on from."""

    method: str
    head: TrainedHead
    sha256: str
    parent: ContinualState | None
    experiences: int
    items: int

    @property
    def won(self) -> bool:
        return bool(self.head.metrics["challenge"]["won"])


def trained(
    running: jobs.Running, material: Material, snapshot: Snapshot, closed: TrainedHead, report: Progress
) -> Trained | None:
    """Train the project's challenger beside the closed form; None where it has none, or too few labels.

    An attempt that follows a killed one takes up the state that was kept, if it was fitted from the same.
    """
    project_id, sha = snapshot.project_id, snapshot.encoder_sha
    told = TrainingSettings.of(project_id)
    if told.challenger == Challenger.NONE:
        return None
    if why := challengers.can_challenge(material):
        log.info("project %s: %s", project_id, why)
        return None
    before = continual_states.latest(project_id=project_id, encoder_sha=sha, method=told.challenger)
    start = {
        "method": told.challenger, "options": told.challenger_options, "snapshot": snapshot.sha256,
        "parent": before.row.sha256 if before else "",
    }  # fmt: skip
    fitted = _kept(running, material, snapshot, closed, start)
    if fitted is None:
        name = told.get_challenger_display()
        fitted = challengers.fit(
            told.challenger, told.challenger_options, material, challengers.names_of(material), closed, before,
            lambda share: report(0.78 + 0.12 * share, f"training the challenger: {name}"),
        )  # fmt: skip
    # Written in any case: an erasure that ran since an attempt was killed has taken what no row named yet.
    state = continual_states.write(project_id, to_bytes(fitted.kept))
    resuming.keep_state(running, sha, {"from": start, "state": state, "told": fitted.head.metrics["continual"]})
    parent = before.row if before else None
    return Trained(told.challenger, fitted.head, state, parent, fitted.kept.experiences, len(fitted.kept.items))


def keep(running: jobs.Running, run: TrainingRun, challenger: Trained) -> None:
    """Let the run name its state; fenced, and the same when it is repeated."""
    with transaction.atomic():
        running.hold()
        ContinualState.objects.update_or_create(
            run=run,
            defaults={
                "project_id": run.project_id, "encoder_sha": run.encoder_sha, "method": challenger.method,
                "parent": challenger.parent, "sha256": challenger.sha256, "experiences": challenger.experiences,
                "items": challenger.items,
            },
        )  # fmt: skip


def repeated(run: TrainingRun, material: Material, closed: TrainedHead) -> TrainedHead:
    """The head of a challenger's run, fitted again. Raises LookupError where what it went on from is gone or barred."""
    state = ContinualState.objects.filter(run=run).select_related("parent__run__model", "parent__run__snapshot").first()
    if state is None:
        raise LookupError("what the challenger was is not recorded")
    if state.experiences > 1 and state.parent is None:
        raise LookupError("what the challenger went on from is gone")
    before: Before | None = continual_states.before(state.parent) if state.parent else None
    ids: dict[str, Any] = run.model.lineage["category_ids"] if run.model else {}
    names = tuple(str(ids.get(key, f"key:{key}")) for key in material.categories)
    kept = from_bytes(continual_states.read(run.project_id, state.sha256))
    options = challengers.settable(run.method, kept.options)
    return challengers.fit(run.method, options, material, names, closed, before, lambda share: None).head


def _kept(
    running: jobs.Running, material: Material, snapshot: Snapshot, closed: TrainedHead, start: dict[str, Any]
) -> challengers.Fitted | None:
    told = resuming.kept_state(running, snapshot.encoder_sha, start)
    if told is None:
        return None
    try:
        kept = from_bytes(continual_states.read(snapshot.project_id, told["state"]))
    except (LookupError, ValueError):
        return None
    return challengers.head_of(start["method"], kept, material, challengers.names_of(material), closed, told["told"])
