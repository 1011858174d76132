"""Multinomial logistic regression in milliseconds, for the many fits behind a stack.

The objective of learning/core/heads/linear.py, C · Σᵢ wᵢ · H(tᵢ, softmax(W xᵢ + b)) + ½‖W‖², with a free bias, in
float32 and in coordinates in which it is nearly round: the principal axes of the weighted rows, each scaled by
Böhning's bound of its curvature (Böhning 1992), ¼·eigenvalue + 1/C. There L-BFGS needs tens of steps where it otherwise
needs hundreds, and with fewer rows than columns the work shrinks to the rows. To about three digits: choose with it,
stack with it; what is served and kept exact is fitted elsewhere.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Floats = npt.NDArray[np.float32]
STEPS = 60
RANK = 1e-6  # of the largest eigenvalue: axes below carry rounding only


class Rows:
    """Rows to fit on: their weights, centre and principal axes, computed once for any number of fits.

    ``x`` [n, d] float32, ``weights`` [n] ≥ 0 with a positive sum (ValueError otherwise).
    """

    def __init__(self, x: Floats, weights: Floats | None = None) -> None:
        self.weights = np.ones(len(x), dtype=np.float32) if weights is None else np.asarray(weights, dtype=np.float32)
        self.total = float(self.weights.sum())
        if self.total <= 0 or (self.weights < 0).any():
            raise ValueError("logistic regression needs rows with weights that are not negative")
        self.centre = np.asarray((self.weights @ x) / self.total, dtype=np.float32)
        centred = x - self.centre
        self.values, self.axes = _principal(centred * np.sqrt(self.weights)[:, None])
        self.z = np.asarray(centred @ self.axes, dtype=np.float32)

    def fit(self, targets: Floats, C: float, start: Floats | None = None, steps: int = STEPS) -> Floats:
        """[W; b] as [d + 1, K] for ``targets`` [n, K], rows that sum to 1. ``start`` is an earlier result."""
        scale = (1.0 / np.sqrt(self.values / 4.0 + 1.0 / C)).astype(np.float32)
        bias = np.float32(1.0 / np.sqrt(self.total / 4.0))
        rows = np.concatenate([self.z * scale, np.full((len(self.z), 1), bias)], axis=1)
        penalty = np.append(scale**2 / np.float32(C), 0.0).astype(np.float32)[:, None]
        first = np.zeros((rows.shape[1], targets.shape[1]), dtype=np.float32)
        if start is not None:
            first[:-1] = (self.axes.T @ start[:-1]) / scale[:, None]
            first[-1] = (start[-1] + self.centre @ start[:-1]) / bias
        found = _minimise(rows, np.asarray(targets, dtype=np.float32), self.weights, penalty, first, steps)
        weights = self.axes @ (found[:-1] * scale[:, None])
        return np.concatenate([weights, (found[-1] * bias - self.centre @ weights)[None]]).astype(np.float32)


def scores(x: Floats, theta: Floats) -> Floats:
    """x W + b [n, K]."""
    return np.asarray(x @ theta[:-1] + theta[-1], dtype=np.float32)


def probabilities(z: Floats) -> Floats:
    """Row-wise softmax in float32."""
    z = z - z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z


def _principal(rows: Floats) -> tuple[npt.NDArray[np.float64], Floats]:
    """Eigenvalues [r] of rowsᵀ rows and its eigenvectors [d, r], from whichever Gram matrix is smaller."""
    n, d = rows.shape
    small = rows @ rows.T if n < d else rows.T @ rows
    values, vectors = np.linalg.eigh(small.astype(np.float64))
    kept = values > max(values[-1], 1e-30) * RANK
    values, vectors = values[kept], vectors[:, kept]
    axes = rows.T @ vectors.astype(np.float32) / np.sqrt(values).astype(np.float32) if n < d else vectors
    return values, np.asarray(axes, dtype=np.float32)


def _minimise(rows: Floats, targets: Floats, weights: Floats, penalty: Floats, first: Floats, steps: int) -> Floats:
    shape = first.shape

    def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        theta = flat.reshape(shape).astype(np.float32)
        z = rows @ theta
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z)
        total = p.sum(axis=1)
        value = float(weights @ (np.log(total) - np.einsum("ij,ij->i", targets, z)))
        value += 0.5 * float((penalty * theta * theta).sum())
        p *= (weights / total)[:, None]
        p -= targets * weights[:, None]
        return value, (rows.T @ p + penalty * theta).astype(np.float64).ravel()

    options = {"maxiter": steps, "maxcor": 8, "ftol": 1e-7, "gtol": 1e-4}
    return np.asarray(
        minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(shape), dtype=np.float32
    )
