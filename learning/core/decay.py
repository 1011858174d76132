"""How fast accuracy decays, and the day on which it will have fallen too far.

The curve is Acc(t) = Acc_inf + (Acc_0 - Acc_inf) exp(-lambda t), t in days since the model was trained, fitted by
weighted least squares (weights n / (p (1 - p)), the inverse binomial variance). For a given lambda the other two are
linear, so that only lambda is searched (variable projection: Golub and Pereyra 1973). The uncertainty of the expected
day comes from a parametric bootstrap of the counts.

It does not extrapolate beyond ``horizon`` days: a curve that levels off above the threshold has no such day, and says
None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Audit:
    """``correct`` of ``n`` audited answers were right, ``day`` days after training."""

    day: float
    correct: float
    n: float


@dataclass(frozen=True)
class Decay:
    """Accuracies are fractions in [0, 1]; ``rate`` is lambda per day, 0 for a flat line."""

    start: float
    floor: float
    rate: float

    def at(self, day: float) -> float:
        """Expected accuracy ``day`` days after training."""
        return self.floor + (self.start - self.floor) * math.exp(-self.rate * day)

    def day_below(self, threshold: float) -> float | None:
        """First day with expected accuracy at or below ``threshold``; None where the curve never gets there."""
        if self.start <= threshold:
            return 0.0
        if self.floor >= threshold or self.rate <= 0:
            return None
        return math.log((self.start - self.floor) / (threshold - self.floor)) / self.rate


@dataclass(frozen=True)
class Forecast:
    """``day`` in a central interval; None = beyond the horizon; ``reached`` = share of resamples that get there."""

    decay: Decay
    day: float | None
    earliest: float | None
    latest: float | None
    reached: float


def fit(audits: Sequence[Audit]) -> Decay:
    """The decay curve of audits on three or more days. ValueError on fewer, or on impossible counts."""
    days, share, weight = _columns(audits)
    rates = _rates(days)
    shapes = np.exp(-np.outer(rates, days))
    return _best(rates, shapes, share, weight)


def forecast(
    audits: Sequence[Audit],
    threshold: float,
    *,
    rng: np.random.Generator,
    horizon: float = 365.0,
    resamples: int = 200,
    level: float = 0.9,
) -> Forecast:
    """The day on which accuracy is expected at ``threshold``, and what the audits' own noise leaves open."""
    days, _, weight = _columns(audits)
    curve = fit(audits)
    size = np.array([max(round(a.n), 1) for a in audits])
    rates = _rates(days)
    shapes = np.exp(-np.outer(rates, days))
    expected = np.clip([curve.at(d) for d in days], 0, 1)
    draws = rng.binomial(size, expected, (resamples, len(size))) / size
    reach = [_best(rates, shapes, draw, weight).day_below(threshold) for draw in draws]
    found = np.array([math.inf if d is None or d > horizon else d for d in reach])
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Forecast(
        curve,
        _within(curve.day_below(threshold), horizon),
        _within(low, horizon),
        _within(high, horizon),
        float(np.isfinite(found).mean()),
    )


def _within(day: float | None, horizon: float) -> float | None:
    return None if day is None or day > horizon else float(day)


def _columns(audits: Sequence[Audit]) -> tuple[Floats, Floats, Floats]:
    days, correct, n = (np.array([getattr(a, f) for a in audits], dtype=float) for f in ("day", "correct", "n"))
    if len(set(days.tolist())) < 3:
        raise ValueError("a decay curve needs audits on three different days")
    if (n <= 0).any() or (correct < 0).any() or (correct > n).any():
        raise ValueError("each audit needs 0 <= correct <= n and n > 0")
    smooth = (correct + 1) / (n + 2)  # keeps the weight of a perfect day finite
    return days, correct / n, n / (smooth * (1 - smooth))


def _rates(days: Floats) -> Floats:
    """Half-lives from half the shortest gap to ten times the span: what the days can tell apart."""
    span, gap = float(np.ptp(days)), float(np.diff(np.unique(days)).min())
    return np.asarray(np.geomspace(math.log(2) / (10 * span), math.log(2) / (0.5 * gap), 240))


def _best(rates: Floats, shapes: Floats, share: Floats, weight: Floats) -> Decay:
    """For every rate the weighted straight line of accuracy on exp(-rate t), held to 0 <= floor <= start <= 1; the best
    of them.
    """
    total = weight.sum()
    x_mean, y_mean = shapes @ weight / total, float(share @ weight / total)
    centred = shapes - x_mean[:, None]
    variance = (centred**2) @ weight
    slope = np.maximum(centred @ (weight * (share - y_mean)) / variance, 0.0)
    floor = y_mean - slope * x_mean
    low = floor < 0  # through the origin instead
    slope[low] = (shapes[low] @ (weight * share)) / ((shapes[low] ** 2) @ weight)
    floor[low] = 0.0
    error = ((share - floor[:, None] - slope[:, None] * shapes) ** 2) @ weight
    best = int(error.argmin())
    if slope[best] == 0:
        return Decay(y_mean, y_mean, 0.0)
    return Decay(min(float(floor[best] + slope[best]), 1.0), float(floor[best]), float(rates[best]))
