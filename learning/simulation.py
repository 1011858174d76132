"""What would happen at this α: the loop of a project played forward, as it is and held to the bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.utils.translation import gettext as _
from numpy.typing import NDArray

from feedback.charts import Chart, Limit, Point, Series
from learning import trends
from learning.core.loop_guard import critical_alpha, largest_eigenvalue, sharpening, simulate_loop
from learning.models import GuardReport

Floats = NDArray[np.float64]
EXAMPLE = {"A": 0.6, "B": 0.4}
RUNAWAY = 0.05  # a class share this far from the truth


@dataclass(frozen=True)
class Setting:
    """``shares`` are the true class shares, by name; ``power`` how much the model favours the likelier class (1: not at all)."""

    shares: dict[str, float]
    alpha: float
    power: float
    bound: float
    rounds: int
    measured: bool  # whether the shares were, or are an example

    @property
    def beside(self) -> float:
        """What it is compared with: the bound; where α keeps to it, half of α."""
        return self.bound if self.alpha > self.bound else self.alpha / 2

    @classmethod
    def of(cls, g: GuardReport | None, *, bound: float, names: Mapping[str, str]) -> Setting:
        """As the project was last measured; what was not measured begins with an example."""
        if g is None:
            return cls(EXAMPLE, 0.6, 2.0, bound, 25, measured=False)
        shares = {names.get(key, key): share for key, share in (g.shares or g.training_shares).items()}
        power = 2.0 if g.power is None else round(min(max(g.power, 0.1), 10.0), 2)
        return cls(shares, round(g.alpha, 2), power, bound, 25, measured=bool(g.shares))


@dataclass(frozen=True)
class Outcome:
    """Where the loop goes: the largest gap of a class share after all rounds (points), free and held, and why."""

    chart: Chart
    free: float
    held: float
    gain: float
    critical: float
    name: str  # of the class that moves most

    @property
    def runs_away(self) -> bool:
        return self.free > 100 * RUNAWAY


def play(given: Setting) -> Outcome:
    """Both loops from the true shares on."""
    names, truth = list(given.shares), np.array(list(given.shares.values()), dtype=float)
    truth = truth / truth.sum()
    model = sharpening(given.power)
    free, held = (simulate_loop(truth, a, model, given.rounds) for a in (given.alpha, given.beside))
    k = int(np.abs(free[-1] - truth).argmax())
    return Outcome(
        _chart(names[k], free[:, k], held[:, k], float(truth[k]), given), 100 * float(np.abs(free[-1] - truth).max()),
        100 * float(np.abs(held[-1] - truth).max()), largest_eigenvalue(given.alpha, model, truth), critical_alpha(model, truth),
        names[k],
    )  # fmt: skip


def _chart(name: str, free: Floats, held: Floats, truth: float, given: Setting) -> Chart:
    def series(label: str, values: Floats, tone: str, line: str, shape: str) -> Series:
        return Series(label, tuple(Point(n, float(v)) for n, v in enumerate(values)), tone, line, shape)

    rows = tuple(
        (str(n), f"{a:.4f}", f"{b:.4f}", f"{truth:.4f}") for n, (a, b) in enumerate(zip(free, held, strict=True))
    )
    as_it_is = _("at α = %(alpha)s") % {"alpha": f"{given.alpha:.2f}"}
    bounded = _("at α = %(alpha)s") % {"alpha": f"{given.beside:.2f}"}
    return Chart(
        "simulation", _("Share of “%(name)s” in what the model believes") % {"name": name},
        (series(as_it_is, free, "bad", "joined", "triangle"), series(bounded, held, "person", "joined", "square")),
        (_("Training"), as_it_is, bounded, _("true share")), rows, lambda n: f"{n:.0f}", trends.percent,
        limits=(Limit(truth, _("true share")),), bottom=0.0, top=1.0, query=query(given),
    )  # fmt: skip


def query(given: Setting) -> str:
    return f"?alpha={given.alpha:g}&power={given.power:g}&rounds={given.rounds}&bound={given.bound:g}"


def words(found: Outcome, given: Setting) -> list[str]:
    """What the picture says, for a reader of the page."""
    figures: dict[str, Any] = {
        "alpha": f"{given.alpha:.2f}", "rounds": given.rounds, "free": f"{found.free:.0f}", "held": f"{found.held:.0f}",
        "name": found.name, "beside": f"{given.beside:.2f}", "gain": f"{found.gain:.2f}", "critical": f"{found.critical:.2f}",
    }  # fmt: skip
    first = _("After %(rounds)s trainings at α = %(alpha)s, the share of “%(name)s” is %(free)s points off the truth.")
    second = _("At α = %(beside)s it would be at most %(held)s points off.")
    third = (
        _(
            "Near the truth a small error becomes %(gain)s of itself with each training: it grows. Below α = %(critical)s it dies out."
        )
        if found.gain >= 1
        else _(
            "Near the truth a small error becomes %(gain)s of itself with each training: it dies out; the model’s own bias stays."
        )
    )
    return [sentence % figures for sentence in (first, second, third)]
