"""The calibrated default test, and every other detector under the same calibration.

The default adds the squared positive z-scores of its three parts (detectors.PARTS); what a score or a sum means is read
off windows held out of the reference, never off a table or a fixed threshold. So the false-alarm rate is the stated one
whatever the texts are like.

A level is the chance of one false alarm over all ``looks`` (days of a month, say): each look gets level / looks.
Windows of more than half the reference are thinned to that half, since nothing larger can be held out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learning.core.drift.detectors import BY_NAME, PARTS
from learning.core.drift.reference import Comparison, Reference, Window

Array = NDArray[np.float64]

DEFAULT = "combined"
SMALLEST = 20  # texts below which a window is not judged


@dataclass(frozen=True)
class Finding:
    """One detector's answer: its statistic, its p-value by resampling, and whether that is below the level."""

    detector: str
    value: float
    p_value: float
    drifted: bool


@dataclass(frozen=True)
class Report:
    """The default test with its parts (as z-scores), and whatever else was asked for by name."""

    n: int
    level: float
    default: Finding
    parts: dict[str, float]
    findings: tuple[Finding, ...]
    reference_sha256: str

    @property
    def drifted(self) -> bool:
        """The verdict of the default test."""
        return self.default.drifted


class Calibration:
    """What every statistic does on ``resamples`` windows of ``n`` texts held out of the reference.

    One calibration serves all windows of its size. ``resamples`` bounds the smallest p-value, 1 / (resamples + 1).
    """

    def __init__(
        self, reference: Reference, n: int, *, rng: np.random.Generator, names: Sequence[str] = (), resamples: int = 400
    ) -> None:
        if not SMALLEST <= n <= len(reference) // 2:
            raise ValueError(f"a window of this reference has {SMALLEST} to {len(reference) // 2} texts, not {n}")
        self.reference, self.n = reference, n
        self.names = tuple(dict.fromkeys([*PARTS, *names]))
        drawn = (rng.choice(len(reference), n, replace=False) for _ in range(resamples))
        rows = [self._statistics(reference.hold_out(held)) for held in drawn]
        self._adopt({name: np.array([row[name] for row in rows]) for name in self.names})

    @classmethod
    def of_null(cls, reference: Reference, n: int, null: Mapping[str, Array]) -> Calibration:
        """A calibration that was kept: ``null`` is what its attribute of that name was."""
        kept = cls.__new__(cls)
        kept.reference, kept.n, kept.names = reference, n, tuple(null)
        kept._adopt(dict(null))
        return kept

    def _adopt(self, null: dict[str, Array]) -> None:
        """``null``: name -> (resamples, m)."""
        self.null = null
        parts = np.concatenate([self.null[p] for p in PARTS], axis=1)
        self.mean, self.spread = parts.mean(0), np.maximum(parts.std(0), 1e-12)
        self.null_combined = _combine((parts - self.mean) / self.spread)

    def _statistics(self, c: Comparison) -> dict[str, Array]:
        return {name: BY_NAME[name](c) for name in self.names}

    def check(self, window: Window, *, level: float = 0.05, looks: int = 1) -> Report:
        """Judge a window of exactly ``n`` texts (see ``fitting``). ValueError on another size, or too few resamples."""
        if len(window.x) != self.n:
            raise ValueError(f"calibrated for windows of {self.n} texts, not {len(window.x)}")
        values = self._statistics(self.reference.compare(window))
        each = level / looks
        if each * (len(self.null_combined) + 1) < 1:
            raise ValueError(f"{looks} looks at level {level} need {resamples_for(level, looks)} resamples or more")
        z = (np.array([values[p][0] for p in PARTS]) - self.mean) / self.spread
        combined = float(_combine(z[None])[0])
        p = float(_p_value(np.array([combined]), self.null_combined[:, None])[0])
        parts = dict(zip(PARTS, z.tolist(), strict=True))
        findings = tuple(self._finding(name, values[name], each) for name in self.names)
        default = Finding(DEFAULT, combined, p, p <= each)
        return Report(self.n, each, default, parts, findings, self.reference.sha256)

    def _finding(self, name: str, value: Array, level: float) -> Finding:
        """A detector with several components drifts when one does after Holm's correction."""
        p = float(holm(_p_value(value, self.null[name])).min())
        return Finding(name, float(value.max()), p, p <= level)


def fitting(window: Window, reference: Reference, rng: np.random.Generator) -> Window:
    """The window, thinned at random to half the size of the reference where it is larger."""
    most = len(reference) // 2
    if len(window.x) <= most:
        return window
    keep = np.sort(rng.choice(len(window.x), most, replace=False))
    predictions = None if window.predictions is None else window.predictions[keep]
    strangeness = None if window.strangeness is None else window.strangeness[keep]
    return Window(window.x[keep], predictions, strangeness)


def check_slices(
    slices: Mapping[str, tuple[Reference, Window]],
    *,
    rng: np.random.Generator,
    level: float = 0.05,
    looks: int = 1,
    resamples: int = 400,
) -> dict[str, Report]:
    """The default test within each slice (locale, channel, category) against the same slice of the reference.

    The level is shared out over the slices, and slices too small to judge are left out.
    """
    fit = {name: (ref, fitting(window, ref, rng)) for name, (ref, window) in slices.items()}
    large = {name: pair for name, pair in fit.items() if len(pair[1].x) >= SMALLEST}
    reports = {}
    for name, (reference, window) in large.items():
        calibration = Calibration(reference, len(window.x), rng=rng, resamples=resamples)
        reports[name] = calibration.check(window, level=level, looks=looks * len(large))
    return reports


def resamples_for(level: float, looks: int) -> int:
    """Resamples that let two of them exceed the threshold of one look: enough to alarm, and not by a single odd draw."""
    return math.ceil(2 * looks / level)


def holm(p: Array) -> Array:
    """Holm's (1979) step-down adjustment of m p-values."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(stepped)
    adjusted[order] = np.minimum(stepped, 1.0)
    return np.asarray(adjusted)


def _combine(z: Array) -> Array:
    return np.asarray((np.maximum(z, 0) ** 2).sum(-1))


def _p_value(value: Array, null: Array) -> Array:
    """(1 + resamples at least as large) / (resamples + 1), per component: value (m,), null (resamples, m)."""
    return np.asarray((1 + (null >= value).sum(0)) / (len(null) + 1))
