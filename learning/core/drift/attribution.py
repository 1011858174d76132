"""Whether the model decides by other things than before: the attributions of its answers, window beside reference.

An attribution is what one coordinate of the embedding adds to the score of the category that was answered
(learning.core.explain.contributions). Each of the coordinates that mattered most in the reference is compared by the
two-sample Kolmogorov-Smirnov statistic; the largest gap counts. Its chance comes from windows of the same size drawn out of
the reference, so that no table of the statistic, which knows nothing of ten dependent coordinates, is needed.

A gap beyond 0.15 is the field's convention for an attribution that has drifted; one beyond chance that is smaller is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learning.core.drift.detectors import ks

Array = NDArray[np.float64]
COORDINATES = 10
GAP = 0.15
RESAMPLES = 200


@dataclass(frozen=True)
class AttributionShift:
    """``gap`` in [0, 1] of the coordinate that moved most, and how likely chance makes one as large."""

    gap: float
    p_value: float

    def drifted(self, level: float) -> bool:
        return self.gap > GAP and self.p_value <= level


def attribution_shift(
    window: Array, reference: Array, *, rng: np.random.Generator, resamples: int = RESAMPLES
) -> AttributionShift:
    """Compare contributions ``window`` (n, d) with ``reference`` (N, d).

    A window of more than half of the reference is thinned to that half. ValueError where either has fewer than 20 rows.
    """
    if min(len(window), len(reference)) < 20:
        raise ValueError("attributions need 20 texts on either side")
    most = np.argsort(-np.abs(reference).mean(0), kind="stable")[:COORDINATES]
    now, before = window[:, most], reference[:, most]
    if len(now) > len(before) // 2:
        now = now[np.sort(rng.choice(len(now), len(before) // 2, replace=False))]
    gap = _largest(now, before)
    null = np.empty(resamples)
    for k in range(resamples):
        order = rng.permutation(len(before))
        null[k] = _largest(before[order[: len(now)]], before[order[len(now) :]])
    return AttributionShift(gap, float((1 + (null >= gap).sum()) / (1 + resamples)))


def _largest(now: Array, before: Array) -> float:
    return max(ks(a.astype(np.float32), b.astype(np.float32)) for a, b in zip(now.T, before.T, strict=True))
