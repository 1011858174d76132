"""How much each held-out label counts when experts are judged, so that they are judged for the pool.

Selection asks about what is hard, and spreads what it asks about: a label that is held out leaves a hole where no other
label lies near, which the texts to be answered do not lie in. Judged on held-out labels alike, experts that live off
labels look worse than they are. So each held-out label counts by how common its situation is in the pool: by the ratio
of densities of s, the cosine to the nearest label in sight, among the pool's texts and among the held-out labels
(importance weights under covariate shift, Shimodaira 2000; the ratio by logistic regression on [s, s²], Bickel et al.
2009).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from learning.core.heads.experts import Floats, Ints, Known

Matrix = npt.NDArray[np.float64]
MOST = 4096  # texts of the pool that its density is read from
LEAST, LARGEST = 0.05, 20.0  # of a ratio: what no held-out label resembles is not judged by one of them alone
PENALTY = 1e-4


def coverage_weights(known: Known, folds: Ints) -> Matrix:
    """Weights [n] of the labels, mean 1, when each is held out with its fold ``folds`` [n]."""
    seen = known.pool.x[known.at]
    held_out = _nearest(seen, seen, folds)
    pool = _nearest(known.pool.x[_sample(known)], seen)
    w = known.weights * np.clip(density_ratio(held_out, pool), LEAST, LARGEST)
    return np.asarray(w * (len(w) / w.sum()), dtype=np.float64)


def density_ratio(here: Matrix, there: Matrix) -> Matrix:
    """p_there(s)/p_here(s) at the points ``here`` [n], from samples [n] and [m]; ones where either is empty."""
    if not len(here) or not len(there):
        return np.ones(len(here))
    s = np.concatenate([here, there])
    rows = np.stack([s, s * s], axis=1)
    spread = rows.std(axis=0)
    rows = np.divide(rows - rows.mean(axis=0), spread, out=np.zeros_like(rows), where=spread > 0)
    rows = np.concatenate([np.ones((len(s), 1)), rows], axis=1)
    y = np.repeat([0.0, 1.0], [len(here), len(there)])
    w = np.repeat([0.5 / len(here), 0.5 / len(there)], [len(here), len(there)])

    def loss(b: Matrix) -> tuple[float, Matrix]:
        z = rows @ b
        value = float((w * (np.logaddexp(0.0, z) - y * z)).sum()) + PENALTY * float(b[1:] @ b[1:])
        slope = rows.T @ (w * (0.5 * (1.0 + np.tanh(z / 2.0)) - y))
        return value, np.asarray(slope + 2 * PENALTY * np.array([0.0, *b[1:]]), dtype=np.float64)

    b = minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B").x
    return np.asarray(np.exp(np.clip(rows[: len(here)] @ b, -30.0, 30.0)), dtype=np.float64)


def _sample(known: Known) -> Ints:
    """Texts of the pool without a label, spread evenly over it."""
    rest = np.setdiff1d(np.arange(len(known.pool)), known.at)
    return rest[:: -(-len(rest) // MOST)] if len(rest) else rest


def _nearest(x: Floats, labeled: Floats, folds: Ints | None = None) -> Matrix:
    """Cosine [n] to the nearest labeled row; with ``folds`` [n] of the same rows, to the nearest of another fold."""
    if not len(x):
        return np.zeros(0)
    cosines = x @ labeled.T
    if folds is not None:
        cosines[folds[:, None] == folds[None, :]] = -1.0
    return np.asarray(cosines.max(axis=1), dtype=np.float64)
