"""Two versions side by side, and the accuracy of a project's versions as a curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from learning.models import TrainingRun
from serving.models import ModelVersion, Stage

WIDE, HIGH, MOST = 600.0, 160.0, 20
STAGES = {
    Stage.NONE: gettext_lazy("not judged yet"), Stage.STAGING: gettext_lazy("staged"), Stage.REJECTED: gettext_lazy("stopped"),
    Stage.PRODUCTION: gettext_lazy("live"), Stage.ARCHIVED: gettext_lazy("replaced"),
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    name: str | Promise
    left: str
    right: str

    @property
    def differs(self) -> bool:
        return self.left != self.right


@dataclass(frozen=True)
class Section:
    title: str | Promise
    lines: list[Line]


def compared(left: ModelVersion, right: ModelVersion) -> list[Section]:
    """Figures, gates, data and environment of two versions; what neither has is left out."""
    runs = {r.model_id: r for r in TrainingRun.objects.filter(model__in=[left, right]).select_related("snapshot")}
    sides = [(v, runs.get(v.pk)) for v in (left, right)]
    sections = [
        Section(gettext_lazy("Figures"), _lines([_figures(v) for v, _ in sides])),
        Section(gettext_lazy("Gates"), _lines([_gates(v) for v, _ in sides])),
        Section(gettext_lazy("Made from"), _lines([_made(v, run) for v, run in sides])),
        Section(
            gettext_lazy("Hyper-parameters"),
            _lines([dict(plain(run.hyperparameters)) if run else {} for _, run in sides]),
        ),
    ]
    return [s for s in sections if s.lines]


def _lines(sides: Sequence[dict[Any, str]]) -> list[Line]:
    names = dict.fromkeys(name for side in sides for name in side)
    return [Line(name, *(side.get(name, "–") for side in sides)) for name in names]


def _figures(v: ModelVersion) -> dict[Any, str]:
    found: dict[Any, str] = {gettext_lazy("Kind"): v.kind, gettext_lazy("Stage"): str(STAGES[Stage(v.stage)])}
    share = v.metrics.get("test_accuracy")
    if isinstance(share, dict):
        value, low, high = (100 * share[k] for k in ("value", "low", "high"))
        found[gettext_lazy("Accuracy on the test fold")] = f"{value:.1f} % [{low:.1f}, {high:.1f}]"
    if "test_ece" in v.metrics:
        found[gettext_lazy("Calibration error")] = f"{v.metrics['test_ece']:.3f}"
    held = v.metrics.get("held_out_by_kind")
    return found | ({f"log-loss, {k}": f"{x:.3f}" for k, x in sorted(held.items())} if isinstance(held, dict) else {})


def _gates(v: ModelVersion) -> dict[Any, str]:
    return {g["name"]: ("✓ " if g.get("passed") else "✕ ") + str(g.get("detail", "")) for g in v.gates}


def _made(v: ModelVersion, run: TrainingRun | None) -> dict[Any, str]:
    found: dict[Any, str] = {
        gettext_lazy("Labels"): str(v.lineage.get("labels", "–")), gettext_lazy("Snapshot"): str(v.lineage.get("data", "–"))[:12],
        gettext_lazy("Encoder"): v.encoder_sha[:12], gettext_lazy("Bundle"): v.manifest_sha[:12],
    }  # fmt: skip
    if run is not None:
        took = f"{(run.finished_at - run.created_at).total_seconds():.0f} s" if run.finished_at else "–"
        found |= {gettext_lazy("Seed"): str(run.seed), gettext_lazy("Code"): str(run.environment.get("code", "–"))[:12],
                  gettext_lazy("Trained in"): took}  # fmt: skip
        found |= run.environment.get("packages", {})
    return found


def plain(settings: dict[str, Any], under: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows; weights of single categories are left out."""
    rows: list[tuple[str, str]] = []
    for name, value in sorted(settings.items()):
        if name != "pseudo_weights":
            path = f"{under}{name}"
            rows += plain(value, f"{path}.") if isinstance(value, dict) else [(path, _said(value))]
    return rows


def _said(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:80]


@dataclass(frozen=True)
class Point:
    number: int
    labels: int | None
    value: float
    low: float
    high: float
    x: str
    y: str


@dataclass(frozen=True)
class Curve:
    """Accuracy on the test fold by version, in percent, with its band; ``bottom`` and ``top`` are the axis."""

    points: list[Point]
    line: str
    band: str
    bottom: int
    top: int


def accuracy_curve(versions: Sequence[ModelVersion]) -> Curve | None:
    """Of the newest versions that were measured, oldest first; None with fewer than two."""
    shares = [(v, v.metrics.get("test_accuracy")) for v in versions[:MOST]]
    known = [(v, s) for v, s in shares[::-1] if isinstance(s, dict)]
    if len(known) < 2:
        return None
    bottom = int(10 * min(s["low"] for _, s in known)) * 10
    across = WIDE / (len(known) - 1)

    def y(share: float) -> str:
        return f"{HIGH * (1 - (100 * share - bottom) / (100 - bottom or 1)):.1f}"

    points = [
        Point(v.number, v.lineage.get("labels"), 100 * s["value"], 100 * s["low"], 100 * s["high"], f"{n * across:.1f}", y(s["value"]))
        for n, (v, s) in enumerate(known)
    ]  # fmt: skip
    upper = [f"{n * across:.1f},{y(s['high'])}" for n, (_, s) in enumerate(known)]
    lower = [f"{n * across:.1f},{y(s['low'])}" for n, (_, s) in enumerate(known)][::-1]
    return Curve(points, " ".join(f"{p.x},{p.y}" for p in points), " ".join([*upper, *lower]), bottom, 100)
