"""Several heads as one: a weighted sum of their scores, which is again one linear head and needs one graph.

Softmax of a weighted sum of log-probabilities is the logarithmic opinion pool; since every member is linear in the same
features, its weights fold into a single matrix. The non-negative shares are chosen on held-out scores by log-loss
(stacking, Wolpert 1992), drawn towards a stated start that only fades as labels come in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from learning.core.calibration import Labels, log_softmax, platt_targets

Matrix = npt.NDArray[np.float64]
PULL = 4.0  # the start counts like so many labels' worth of curvature: felt at 5 labels, gone at 100


def fit_shares(
    members: Sequence[Matrix],
    y: Labels,
    weights: Matrix,
    *,
    start: Sequence[float],
    least: Sequence[float] | None = None,
) -> Matrix:
    """Shares v ≥ 0 [members] that minimise Σ w·log-loss of softmax(Σ v_j·scores_j) + PULL/2·‖v − start‖².

    ``members`` hold held-out scores [n, C], each already divided by its own temperature, so that a share of 1 alone
    means that member as it is; no share falls below its ``least`` (0 unless given). Convex; solved from ``start`` by
    L-BFGS-B. Without rows the start is the answer.
    """
    floor = np.zeros(len(start)) if least is None else np.asarray(least, dtype=np.float64)
    origin = np.maximum(np.asarray(start, dtype=np.float64), floor)
    if not len(y) or members[0].shape[1] < 2:
        return origin
    stacked = np.stack(members)
    targets = platt_targets(y, stacked.shape[2], weights)

    def loss(v: Matrix) -> tuple[float, Matrix]:
        logs = log_softmax(np.tensordot(v, stacked, axes=1))
        gap = weights[:, None] * (np.exp(logs) - targets)
        value = -float((weights[:, None] * targets * logs).sum()) + PULL / 2 * float(np.square(v - origin).sum())
        return value, np.tensordot(stacked, gap, axes=([1, 2], [0, 1])) + PULL * (v - origin)

    found = minimize(loss, origin, jac=True, method="L-BFGS-B", bounds=[(low, None) for low in floor])
    return np.asarray(found.x, dtype=np.float64)


def cross_fitted(
    members: Sequence[Matrix],
    y: Labels,
    weights: Matrix,
    folds: npt.NDArray[np.integer],
    *,
    start: Sequence[float],
    least: Sequence[float] | None = None,
) -> Matrix:
    """Scores [n, C] of the blend whose shares were fitted on the other folds: what the blend may be judged by."""
    scores = np.empty_like(members[0])
    for fold in np.unique(folds):
        inside = folds == fold
        v = fit_shares([m[~inside] for m in members], y[~inside], weights[~inside], start=start, least=least)
        scores[inside] = np.tensordot(v, np.stack([m[inside] for m in members]), axes=1)
    return scores
