"""Accuracy that stays true while the model acts: inverse-propensity estimates from a randomly drawn, blindly labeled
audit.

Every draw carries the probability with which it was made. Horvitz and Thompson (1952) weight it by one over that
probability; the normalised (Hajek) form is the default because its variance does not grow with the chance size of the
sample. The interval is Korn and Graubard's (1998): Clopper-Pearson at the effective sample size, which holds also near
0 and 1 and with unequal weights.

It does not repair draws that were never answered: ``nonresponse_bounds`` says how far they could move the figure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A share with its interval. ``effective_n`` is the size of the simple random sample that would know as much."""

    value: float
    lower: float
    upper: float
    n: int
    effective_n: float


UNKNOWN = Estimate(math.nan, 0.0, 1.0, 0, 0.0)


def inverse_weights(propensity: ArrayLike) -> Floats:
    """1 / propensity. Raises ValueError unless all lie in (0, 1]: a draw that was impossible cannot be weighted."""
    p = np.asarray(propensity, dtype=float)
    if ((p <= 0) | (p > 1)).any():
        raise ValueError("propensities lie in (0, 1]")
    return np.asarray(1.0 / p)


def audited_share(hit: ArrayLike, propensity: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Share of all answers with ``hit`` (n,) true, such as correct ones, from audit draws made with ``propensity``
    (n,).
    """
    y, w = np.asarray(hit, dtype=float), inverse_weights(propensity)
    if y.shape != w.shape:
        raise ValueError("one propensity per draw")
    if len(y) == 0:
        return UNKNOWN
    value = float(y @ w / w.sum())
    kish = float(w.sum() ** 2 / (w**2).sum())
    variance = float(((w * (y - value)) ** 2).sum() / w.sum() ** 2)
    size = min(value * (1 - value) / variance, kish) if variance > 0 else kish  # a lucky sample must not look larger
    lower, upper = exact_interval(value * size, size, level=level)
    return Estimate(value, lower, upper, len(y), size)


def exact_interval(hits: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson bounds of a share; ``hits`` and ``n`` may be fractional (effective) counts."""
    if n <= 0:
        return 0.0, 1.0
    tail, misses = (1 - level) / 2, n - hits
    lower = float(betaincinv(hits, misses + 1, tail)) if hits > 1e-9 else 0.0
    upper = float(betaincinv(hits + 1, misses, 1 - tail)) if misses > 1e-9 else 1.0
    return lower, upper


def horvitz_thompson(hit: ArrayLike, propensity: ArrayLike, population: int) -> float:
    """The unbiased, unnormalised estimate: sum of hit / propensity over the size of the population."""
    return float(np.asarray(hit, dtype=float) @ inverse_weights(propensity) / population)


def audited_shares(label: ArrayLike, propensity: ArrayLike, n_classes: int, *, prior: float = 1.0) -> Floats:
    """Class shares (n_classes,) from audit draws, with ``prior`` pseudo-draws per class beside the effective size."""
    w = inverse_weights(propensity)
    counts = np.bincount(np.asarray(label, dtype=int), weights=w, minlength=n_classes)
    scale = w.sum() / (w**2).sum() if len(w) else 0.0  # weights summing to the effective size
    smoothed = counts * scale + prior
    return np.asarray(smoothed / smoothed.sum())


def drop_bounds(before: Estimate, now: Estimate) -> tuple[float, float]:
    """Bounds of ``before.value - now.value`` for two independent shares (Newcombe 1998, method 10: MOVER)."""
    drop = before.value - now.value
    if math.isnan(drop):
        return -1.0, 1.0
    lower = drop - math.hypot(before.value - before.lower, now.upper - now.value)
    upper = drop + math.hypot(before.upper - before.value, now.value - now.lower)
    return lower, upper


def nonresponse_bounds(estimate: Estimate, drawn: int) -> tuple[float, float]:
    """Range of the value if every draw without a label had been wrong, or right (equal propensities assumed)."""
    if drawn < estimate.n:
        raise ValueError("more answers than draws")
    if estimate.n == 0:
        return 0.0, 1.0
    answered = estimate.n / drawn
    return estimate.value * answered, estimate.value * answered + 1 - answered
