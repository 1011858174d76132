"""The job that tunes a project's language model: material → rows → adapter → gates → merged graph → version → promotion.

A killed job goes on from the last state that it kept, if base, material, templates and knobs are still the same; the version is
registered in one transaction with the checkpoint that says so, so that it is registered once.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.db import transaction

from feedback import jobs
from learning import draft_gates, draft_material
from learning.core.language.base import Base, LanguageModelError, read_base
from learning.core.language.export import export
from learning.core.language.rows import Encoder, Rows
from learning.core.language.tuning import State, TuningConfig, adapter_of, tune, with_adapter
from learning.draft_material import Material
from learning.environment import Environment
from learning.gates.result import Result
from serving import language, storage
from serving.artifacts import Bundle, write_bundle, write_file
from serving.drafter import KIND, TEMPLATES, TOKENIZER, Drafter
from serving.language_models import LanguageStage, LanguageVersion
from serving.prompts import Template

TRIALS = 8  # drafts that are written to see whether they end
PARITY_ROWS = 8
KNOBS = frozenset(f.name for f in fields(TuningConfig))


@dataclass(frozen=True)
class Plan:
    """What a tuning is made of; ``digest`` tells whether a state that was kept belongs to it."""

    base: Base
    config: TuningConfig
    material: Material
    templates: list[Template]

    @property
    def digest(self) -> str:
        parts = [self.base.sha256, asdict(self.config), self.material.sha256, [t.as_dict() for t in self.templates]]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()

    def rows(self, *, held_out: bool) -> tuple[Rows, Rows]:
        """(pairs, replies that people liked or did not)."""
        encoder = Encoder(self.base, limit=self.config.limit)
        pairs = self.material.preferred(self.templates, held_out=held_out)
        return encoder.pairs(pairs), encoder.judged(self.material.judged(self.templates, held_out=held_out))


def tune_drafts(running: jobs.Running) -> dict[str, Any]:
    """Handler of `tune_drafts` jobs. `params` may name `base` (a directory) and any field of `TuningConfig`."""
    if "version" in running.job.checkpoint:
        return dict(running.job.checkpoint)
    plan = planned(running)
    pairs, judged = plan.rows(held_out=False)
    rows = {"dpo": pairs, "kto": judged, "sft": _liked(judged)}[plan.config.method]
    running.report(0.05, f"tuning on {len(rows)} examples")
    model = with_adapter(plan.base.model(), plan.config)
    losses = tune(
        model, rows, plan.config, state=_kept(running, plan), keep=lambda state: _keep(running, plan, state),
        report=lambda share: running.report(0.05 + 0.75 * share, f"tuning on {len(rows)} examples"),
    )  # fmt: skip
    running.report(0.8, "judging it on inquiries that it has not seen")
    held, opinions = plan.rows(held_out=True)
    gates = draft_gates.judge(model, held, _liked(opinions), method=plan.config.method, batch=plan.config.batch)
    running.report(0.85, "exporting it")
    bundle, gap = _exported(model, plan, rows)
    gates += [draft_gates.parity(gap), draft_gates.endings(_trials(bundle, plan))]
    result = _registered(
        running, plan, bundle, gates, {"examples": len(rows), "left_out": rows.left_out, "loss": losses[-1:]}
    )
    _place(running).unlink(missing_ok=True)
    return result


def planned(running: jobs.Running) -> Plan:
    """Raises LanguageModelError naming what is missing: the base, a knob, or anything to learn from."""
    params = running.job.params
    directory = params.get("base") or settings.ENSO_LANGUAGE_MODEL
    if not directory:
        raise LanguageModelError("base: name the directory of a language model (ENSO_LANGUAGE_MODEL, or --base).")
    config = TuningConfig(**{name: value for name, value in params.items() if name in KNOBS})
    project_id = running.job.project_id
    material = draft_material.collect(project_id=project_id)
    return Plan(read_base(Path(directory)), config, material, language.templates(project_id=project_id))


def _liked(rows: Rows) -> Rows:
    at = [n for n, liked in enumerate(rows.liked) if liked]
    return Rows(
        tuple(rows.first[n] for n in at),
        tuple(rows.second[n] for n in at),
        rows.weight[at],
        rows.liked[at],
        rows.left_out,
    )


def _exported(model: Any, plan: Plan, rows: Rows) -> tuple[Bundle, float]:
    check_on = [s.ids[: s.start + n] for n, s in enumerate(rows.first[:PARITY_ROWS])]
    files, gap = export(model, adapter_of(model), check_on)
    files[TOKENIZER] = (plan.base.directory / TOKENIZER).read_bytes()
    files[TEMPLATES] = msgspec.json.encode([t.as_dict() for t in plan.templates])
    meta = {"kind": KIND, "end": list(plan.base.end), "context": plan.base.context, "base_sha256": plan.base.sha256}
    bundle = write_bundle(Path(settings.ENSO_ARTIFACTS), files, meta)
    storage.put(bundle.path)  # before a row names it
    return bundle, gap


def _trials(bundle: Bundle, plan: Plan) -> list[Any]:
    drafter, asked = Drafter.load(bundle), [i for i in plan.material.asked if draft_material.judges(i)]
    return [drafter.write(plan.material.prompt(i, plan.templates)) for i in asked[:TRIALS]]


def _registered(
    running: jobs.Running, plan: Plan, bundle: Bundle, gates: list[Result], metrics: dict[str, Any]
) -> dict[str, Any]:
    passed = all(r.passed for r in gates)
    with transaction.atomic():
        running.hold()
        version: LanguageVersion = language.register(
            project_id=running.job.project_id, bundle=bundle, encoder_sha="", base_sha=plan.base.sha256,
            stage=LanguageStage.STAGING if passed else LanguageStage.REJECTED, gates=[asdict(r) for r in gates],
            metrics=metrics, lineage=_lineage(running, plan, bundle),
        )  # fmt: skip
        if passed:
            language.promote(version_id=version.pk)
        why = next((r.detail for r in gates if not r.passed), "")
        result = {"version": version.number, "state": "promoted" if passed else "rejected", "why": why}
        running.save_checkpoint(result)
    return result


def _lineage(running: jobs.Running, plan: Plan, bundle: Bundle) -> dict[str, Any]:
    """What it was made from; the inquiries are named, so that an erasure finds the models that have read them."""
    trained = {p[0] for p in (*plan.material.pairs, *plan.material.opinions) if not draft_material.judges(p[0])}
    return {
        "weights": bundle.sha256, "base": plan.base.sha256, "data": plan.material.sha256, "seed": plan.config.seed,
        "hyperparameters": asdict(plan.config), "environment": asdict(Environment.here()), "job": running.job.pk,
        "templates": [{**t.as_dict(), "examples": len(t.examples)} for t in plan.templates],
        "inquiries": sorted(str(i) for i in trained),
    }  # fmt: skip


def _keep(running: jobs.Running, plan: Plan, state: State) -> None:
    """Durable before the checkpoint names it."""
    data = state.to_bytes()
    write_file(_place(running), data)
    running.save_checkpoint({"plan": plan.digest, "state": hashlib.sha256(data).hexdigest(), "step": state.step})


def _kept(running: jobs.Running, plan: Plan) -> State | None:
    """The state that an earlier attempt kept of this very plan; None where there is none, or not as it was."""
    known = running.job.checkpoint
    if known.get("plan") != plan.digest:
        return None
    try:
        data = _place(running).read_bytes()
    except OSError:
        return None
    return State.from_bytes(data) if hashlib.sha256(data).hexdigest() == known["state"] else None


def _place(running: jobs.Running) -> Path:
    return Path(settings.ENSO_ARTIFACTS) / "checkpoints" / f"{running.job.pk}.adapter"
