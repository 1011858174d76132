"""One number per way of drifting: each statistic takes a Comparison and grows with the difference.

The three parts of the default test
- ``novelty``: mean -log conformal p-value of the distance to the nearest reference text, joined with the head's doubt
  where known (conformal outlier detection: Bates et al. 2023; leave-one-out on the reference side, so that both sides
  are alike);
- ``novel_density``: close pairs within the window, weighted by the novelty of both and divided by the density that the
  reference has there: novel texts that resemble each other are a new topic, where scattered ones are only odd;
- ``cell_shares``: chi-squared of the predicted classes (or cells of the space).

By name also the novelty share, the centroid distance, MMD with random features, PSI and Kolmogorov-Smirnov per
component, and KL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learning.core.drift.reference import Comparison

Array = NDArray[np.float64]
Statistic = Callable[[Comparison], Array]  # one value, or one per component

DECILES = 10


def conformal_p(score: NDArray[Any], reference: NDArray[Any]) -> Array:
    """(1 + how many reference scores are at least as large) / (r + 1), for each score: (n,) in (0, 1]."""
    above = len(reference) - np.searchsorted(np.sort(reference), score, side="left")
    return np.asarray((1 + above) / (len(reference) + 1))


def surprise_of(c: Comparison) -> Array:
    """-log conformal p-value of each window text (n,), by its distance to the nearest reference text."""
    return np.asarray(-np.log(conformal_p(c.nearest, c.nearest_reference)))


def novelty_of(c: Comparison) -> Array:
    """-log conformal p-value of each window text (n,), by distance and, where known, by the head's doubt."""
    surprise = surprise_of(c)
    if c.strange is None or c.strange_reference is None:
        return surprise
    both = surprise - np.log(conformal_p(c.strange, c.strange_reference))
    own = -np.log(conformal_p(c.nearest_reference, c.nearest_reference))
    own -= np.log(conformal_p(c.strange_reference, c.strange_reference))
    return np.asarray(-np.log(conformal_p(both, own)))


def novelty(c: Comparison) -> Array:
    """Mean surprise: 1 where nothing is new."""
    return np.array([novelty_of(c).mean()])


def novel_density(c: Comparison) -> Array:
    """Root of the density-normalised, novelty-weighted kernel mass of the window's own close pairs, per text.

    The head's doubt is left out on purpose: out-of-fold, it still knows the neighbours of a held-out text, where two
    like texts of a new window are both unknown to it, so held-out pairs look less novel than new ones and the threshold
    would be too low.
    """
    i, j, k = c.pairs
    weight = surprise_of(c) / np.sqrt(1 + c.density)
    return np.array([np.sqrt((k * weight[i] * weight[j]).sum() / c.n)])


def cell_shares(c: Comparison) -> Array:
    """Two-sample chi-squared of the class counts (cells empty on both sides drop out)."""
    w, r = np.bincount(c.cells, minlength=len(c.cell_counts)), c.cell_counts
    return np.array([chi_squared(w, r)])


def chi_squared(window: NDArray[np.int64], reference: NDArray[np.int64]) -> float:
    """Pearson's statistic for two rows of counts (C,)."""
    both, n, r = window + reference, window.sum(), reference.sum()
    gap = window * np.sqrt(r / n) - reference * np.sqrt(n / r)
    return float((gap**2 / np.maximum(both, 1)).sum())


def novelty_share(c: Comparison) -> Array:
    """Share of window texts farther from the reference than 95 % of its own texts are."""
    return np.array([(c.nearest > np.quantile(c.nearest_reference, 0.95)).mean()])


def centroid_distance(c: Comparison) -> Array:
    """Distance between the mean embeddings."""
    return np.array([np.linalg.norm(c.centroid_gap)])


def mmd(c: Comparison) -> Array:
    """Maximum mean discrepancy with a Gaussian kernel, by random Fourier features (Gretton et al. 2012)."""
    return np.array([np.linalg.norm(c.feature_gap)])


def psi(c: Comparison) -> Array:
    """Population stability index of each principal component over the reference's deciles: (m,)."""
    deciles = (h.reshape(len(h), DECILES, -1).sum(2) for h in (c.bins, c.bins_reference))
    return np.array([symmetric_kl(w, r) for w, r in zip(*deciles, strict=True)])


def kolmogorov_smirnov(c: Comparison) -> Array:
    """Two-sample Kolmogorov-Smirnov statistic of each principal component, to within its bins: (m,)."""
    w, r = (np.cumsum(h, axis=1) / h.sum(1, keepdims=True) for h in (c.bins, c.bins_reference))
    return np.asarray(np.abs(w - r).max(1))


def ks(window: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Largest gap between two empirical distribution functions; also for attributions (drift where it exceeds 0.15)."""
    w, r = np.sort(window), np.sort(reference)
    at = np.concatenate([w, r])
    gap = np.searchsorted(w, at, side="right") / len(w) - np.searchsorted(r, at, side="right") / len(r)
    return float(np.abs(gap).max())


def prediction_kl(c: Comparison) -> Array:
    """KL divergence of the window's class shares from the reference's."""
    return np.array([kl(np.bincount(c.cells, minlength=len(c.cell_counts)), c.cell_counts)])


def smoothed_shares(counts: NDArray[np.int64]) -> Array:
    """Shares (C,) with half a count added to each class, so that an empty one keeps every divergence finite."""
    return np.asarray((counts + 0.5) / (counts.sum() + 0.5 * len(counts)))


def kl(window: NDArray[np.int64], reference: NDArray[np.int64]) -> float:
    """sum p log(p/q) of two rows of counts (C,): predictions, or labels."""
    p, q = smoothed_shares(window), smoothed_shares(reference)
    return float((p * np.log(p / q)).sum())


def symmetric_kl(window: NDArray[np.int64], reference: NDArray[np.int64]) -> float:
    """sum (p - q) log(p/q): the population stability index of two rows of counts (C,)."""
    p, q = smoothed_shares(window), smoothed_shares(reference)
    return float(((p - q) * np.log(p / q)).sum())


PARTS: dict[str, Statistic] = {"novelty": novelty, "novel_density": novel_density, "cell_shares": cell_shares}

BY_NAME: dict[str, Statistic] = {
    **PARTS,
    "novelty_share": novelty_share,
    "centroid": centroid_distance,
    "mmd": mmd,
    "psi": psi,
    "ks": kolmogorov_smirnov,
    "prediction_kl": prediction_kl,
}
