"""How far probabilities can be believed: temperature scaling, calibration errors, intervals for accuracies.

Temperature scaling (Guo et al. 2017, arXiv:1706.04599) divides all scores by one number fitted by log-loss. Fitted on
few items, the plain maximum of the likelihood claims certainty as soon as all of them are right; the targets are
therefore smoothed as Platt (1999) does for his sigmoid, which vanishes as items grow.

Scores are [n, C] before the softmax, probabilities [n, C] with rows that sum to 1, labels integers [n].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]
COLDEST, HOTTEST = 1e-4, 1e4


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; for no data the estimate is NaN and the interval is everything."""

    estimate: float
    low: float
    high: float


def log_softmax(scores: npt.ArrayLike) -> Matrix:
    """Row-wise log-probabilities; no overflow."""
    z = np.asarray(scores, dtype=np.float64)
    z = z - z.max(axis=1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)), dtype=np.float64)


def softmax(scores: npt.ArrayLike) -> Matrix:
    """Row-wise probabilities; no overflow."""
    return np.asarray(np.exp(log_softmax(scores)), dtype=np.float64)


def log_loss(scores: npt.ArrayLike, y: Labels, weights: npt.ArrayLike | None = None) -> float:
    """Weighted mean of −log p(y); NaN for no items."""
    if not len(y):
        return float("nan")
    losses = -log_softmax(scores)[np.arange(len(y)), y]
    return float(np.average(losses, weights=None if weights is None else np.asarray(weights, dtype=np.float64)))


def platt_targets(y: Labels, classes: int, weights: npt.ArrayLike | None = None) -> Matrix:
    """One-hot rows [n, classes], smoothed so that n right answers are evidence for (n + 1)/(n + 2), not for 1."""
    n = float(len(y)) if weights is None else float(np.sum(weights))
    epsilon = 1.0 / (n + 2.0) if classes > 1 else 0.0
    targets = np.full((len(y), classes), epsilon / max(classes - 1, 1))
    targets[np.arange(len(y)), y] = 1.0 - epsilon
    return targets


def fit_temperature(scores: npt.ArrayLike, y: Labels, weights: npt.ArrayLike | None = None) -> float:
    """T > 0 that minimises the log-loss of softmax(scores / T) against Platt's targets; 1 where nothing can be fitted.

    The loss is convex in 1/T; its slope is bisected, so the answer does not depend on a start. Scores without any
    preference for the right category end at the hottest temperature, an honest near-uniform answer.
    """
    z = np.asarray(scores, dtype=np.float64)
    if z.shape[0] == 0 or z.shape[1] < 2 or not np.ptp(z, axis=1).any():
        return 1.0
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not w.sum() > 0:
        return 1.0
    unit = float(np.ptp(z, axis=1).mean())  # the search runs in units of the scores' own spread
    z = z / unit
    wanted = float(w @ (platt_targets(y, z.shape[1], w) * z).sum(axis=1))
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(80):
        middle = (low + high) / 2
        # d loss / d(1/T): the scores expected under the model less those of the targets
        slope = float(w @ (softmax(z * np.exp(middle)) * z).sum(axis=1)) - wanted
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(unit * np.exp(-(low + high) / 2))


def crossfit(scores: npt.ArrayLike, y: Labels, folds: npt.NDArray[np.integer]) -> tuple[float, Matrix]:
    """For few calibration labels: (T fitted on all, probabilities [n, C] each by a T fitted on the other folds).

    The probabilities are what ECE, Brier score and log-loss may be measured on without a set kept apart.
    """
    z = np.asarray(scores, dtype=np.float64)
    p = np.empty_like(z)
    for fold in np.unique(folds):
        inside = folds == fold
        p[inside] = softmax(z[inside] / fit_temperature(z[~inside], y[~inside]))
    return fit_temperature(z, y), p


def expected_calibration_error(
    probabilities: npt.ArrayLike, y: Labels, *, bins: int = 15, equal_mass: bool = False
) -> float:
    """Σ share of bin · |accuracy − confidence| over bins of the highest probability (Naeini et al. 2015); NaN for no items.

    Bins of equal width show where confidence lies; bins of equal mass do not depend on nearly empty ones.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if not len(p):
        return float("nan")
    confidence, right = p.max(axis=1), (p.argmax(axis=1) == y).astype(np.float64)
    if equal_mass:
        groups = np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(p)))
    else:
        bin_of = np.minimum(np.ceil(confidence * bins).astype(int) - 1, bins - 1)
        groups = [np.flatnonzero(bin_of == b) for b in range(bins)]
    return float(sum(abs(right[g].sum() - confidence[g].sum()) for g in groups) / len(p))


def brier_score(probabilities: npt.ArrayLike, y: Labels) -> float:
    """Mean of Σ_c (p_c − 1[c = y])², between 0 and 2 (Brier 1950); NaN for no items."""
    p = np.array(probabilities, dtype=np.float64)
    if not len(p):
        return float("nan")
    p[np.arange(len(y)), y] -= 1.0
    return float(np.square(p).sum(axis=1).mean())


def accuracy(predicted: Labels, y: Labels, *, confidence: float = 0.95) -> Interval:
    """Share of right answers with Wilson's interval."""
    return wilson(int(np.sum(np.asarray(predicted) == np.asarray(y))), len(y), confidence=confidence)


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927)."""
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    return Interval(p, max(0.0, centre - half), min(1.0, centre + half))


def paired_difference(
    first_right: Sequence[bool] | npt.NDArray[np.bool_],
    second_right: Sequence[bool] | npt.NDArray[np.bool_],
    *,
    confidence: float = 0.95,
) -> Interval:
    """Accuracy of the first model less that of the second on the same items, with its interval.

    Only items on which they differ count: the adjusted Wald interval of Bonett & Price (2012), which holds its coverage
    for small samples. Raises ValueError when the two are not of one length.
    """
    a, b = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    if a.shape != b.shape:
        raise ValueError(
            f"the models were scored on {a.size} and {b.size} items: a paired interval needs the same ones"
        )
    n = a.size
    if n == 0:
        return Interval(float("nan"), -1.0, 1.0)
    gained, lost = int(np.sum(a & ~b)), int(np.sum(~a & b))
    p, q = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * float(np.sqrt((p + q - (p - q) ** 2) / (n + 2)))
    return Interval((gained - lost) / n, max(-1.0, p - q - half), min(1.0, p - q + half))
