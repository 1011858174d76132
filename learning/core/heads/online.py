"""The ridge solution under single labels: current after each, at O(m²), and equal to a refit.

(G + λI)⁻¹ follows each label by a rank-one update (Sherman & Morrison 1950), W = (G + λI)⁻¹ C likewise. The rank-one
terms are collected and folded into the inverse 32 at a time, which costs a third of folding each. Rounding errors would
add up over thousands of labels; the distance from the exact solution is therefore measured and repaired on the way.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy.linalg import blas, cho_solve, lapack

from learning.core.heads.ridge import Matrix, RidgeStatistics

Singles = npt.NDArray[np.float32]
FOLD = 32  # rank-one terms of the inverse that are collected: more make each product with it dearer


class OnlineRidge:
    """The solution for one λ, kept current; `weights` [m, K] is always that of the statistics as they stand.

    Every ``check_every`` updates the residual of (G + λI)W = C is measured (`drift`) and W refined once with the inverse
    at hand; where the drift then still exceeds ``tolerance``, or a withdrawal would divide by almost nothing, inverse and
    W are computed anew (`refits` counts it).
    """

    def __init__(
        self, statistics: RidgeStatistics, lam: float, *, check_every: int = 256, tolerance: float = 1e-11
    ) -> None:
        if not lam > 0:
            raise ValueError("λ must be positive")
        self.statistics, self.lam = statistics, lam
        self.check_every, self.tolerance = check_every, tolerance
        self.updates = self.refits = 0
        self.weights: Matrix = np.zeros((0, 0))
        self._watched: Singles = np.zeros((0, statistics.width), dtype=np.float32)
        self.largest_drift = 0.0
        self.refit()

    def add(self, phi: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike = 1.0) -> None:
        """As RidgeStatistics.add; one row costs O(m²)."""
        self.statistics.add(phi, y, weights)
        self._follow(phi, y, weights, sign=1.0)

    def withdraw(self, phi: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike = 1.0) -> None:
        self.statistics.withdraw(phi, y, weights)
        self._follow(phi, y, weights, sign=-1.0)

    def change(self, phi: npt.ArrayLike, old: npt.ArrayLike, new: npt.ArrayLike, weights: npt.ArrayLike = 1.0) -> None:
        self.statistics.change(phi, old, new, weights)
        rows = np.atleast_2d(np.asarray(phi, dtype=np.float64))
        w = np.broadcast_to(np.asarray(weights, dtype=np.float64), (len(rows),))
        moved = self.statistics.targets(new, len(rows)) - self.statistics.targets(old, len(rows))
        for row, step in zip(rows, w[:, None] * moved, strict=True):
            touched = np.flatnonzero(step)
            k = self._inverse_times(row)
            self.weights[:, touched] += np.outer(k, step[touched])
            self.watched_scores += np.outer(self._watched @ k.astype(np.float32), step)
            self._count_update()

    def add_category(self, key: str) -> None:
        self.statistics.add_category(key)
        self.weights = np.concatenate([self.weights, np.zeros((len(self.weights), 1))], axis=1)
        self._score_watched()

    def rename_category(self, old: str, new: str) -> None:
        self.statistics.rename_category(old, new)

    def merge_categories(self, sources: Iterable[str], into: str) -> None:
        """W is linear in C: columns add up as the categories do."""
        before, target = list(self.statistics.categories), self.statistics.index(into)
        gone = sorted({self.statistics.index(s) for s in sources} - {target})
        self.statistics.merge_categories([before[at] for at in gone], into)
        self.weights[:, target] += self.weights[:, gone].sum(axis=1)
        self.weights = np.ascontiguousarray(np.delete(self.weights, gone, axis=1))
        self._score_watched()

    def delete_category(self, key: str) -> None:
        at = self.statistics.index(key)
        self.statistics.delete_category(key)
        self.weights = np.ascontiguousarray(np.delete(self.weights, at, axis=1))
        self._score_watched()

    def watch(self, phi: npt.ArrayLike) -> None:
        """Keep the scores of some texts (features [n, m]) current at O(n·m) per label, in `watched_scores` [n, K].

        In float32, and computed anew whenever the drift is measured: enough to see which category leads.
        """
        self._watched = np.ascontiguousarray(phi, dtype=np.float32)
        self._score_watched()

    def drift(self) -> float:
        """Largest entry of the residual (G + λI)W − C, relative to the largest of C: 0 for the exact solution."""
        return self._relative(self._residual())

    def refit(self) -> None:
        """Inverse and weights from the statistics, O(m³)."""
        factor, _ = self.statistics.factor(self.lam)
        self.weights = np.ascontiguousarray(cho_solve((factor, True), self.statistics.cross))
        inverse, info = lapack.dpotri(factor, lower=1, overwrite_c=1)
        if info:
            raise np.linalg.LinAlgError(f"λ = {self.lam} is too small for these labels")
        self._inverse = np.asfortranarray(inverse)
        self._columns: Matrix = np.zeros((self.statistics.width, FOLD), order="F")
        self._signs: Matrix = np.zeros(FOLD)
        self._pending = 0
        self.refits += 1
        self._score_watched()

    def _follow(self, phi: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike, *, sign: float) -> None:
        rows = np.atleast_2d(np.asarray(phi, dtype=np.float64))
        if len(rows) > self.statistics.width // 8:  # where a refit costs less than so many updates
            self.refit()
            return
        w = np.broadcast_to(np.asarray(weights, dtype=np.float64), (len(rows),))
        for row, target, v in zip(rows, self.statistics.targets(y, len(rows)), sign * w, strict=True):
            if v and not self._rank_one(row, target, float(v)):
                self.refit()
                return
            self._count_update()

    def _rank_one(self, row: Matrix, target: Matrix, v: float) -> bool:
        """Sherman–Morrison for G + v·φφᵀ and C + v·φtᵀ; False where it would lose too many digits."""
        k = self._inverse_times(row)
        denominator = 1.0 + v * float(row @ k)
        if denominator < 1e-6:
            return False
        step = (v / denominator) * (target - row @ self.weights)
        # In place through the transpose, which BLAS sees as column-major; an outer product would allocate [m, K] anew.
        self.weights = blas.dger(1.0, step, k, a=self.weights.T, overwrite_a=1).T
        self.watched_scores += np.outer(self._watched @ k.astype(np.float32), step)
        self._columns[:, self._pending] = k * np.sqrt(abs(v) / denominator)
        self._signs[self._pending] = -np.sign(v)
        self._pending += 1
        if self._pending == FOLD:
            self._fold()
        return True

    def _inverse_times(self, vector: Matrix) -> Matrix:
        product = blas.dsymv(1.0, self._inverse, vector, lower=1)
        if self._pending:
            columns = self._columns[:, : self._pending]
            product = product + columns @ (self._signs[: self._pending] * (vector @ columns))
        return np.asarray(product, dtype=np.float64)

    def _fold(self) -> None:
        signs = self._signs[: self._pending]
        for sign in (1.0, -1.0):
            chosen = np.asfortranarray(self._columns[:, : self._pending][:, signs == sign])
            if chosen.shape[1]:
                self._inverse = blas.dsyrk(sign, chosen, beta=1.0, c=self._inverse, lower=1, overwrite_c=1)
        self._pending = 0

    def _relative(self, residual: Matrix) -> float:
        largest = max(float(np.abs(self.statistics.cross).max(initial=0.0)), 1e-300)
        return float(np.abs(residual).max(initial=0.0)) / largest

    def _residual(self) -> Matrix:
        left = self.statistics.gram_times(self.weights) + self.lam * self.weights
        return np.asarray(left - self.statistics.cross, dtype=np.float64)

    def _count_update(self) -> None:
        self.updates += 1
        if self.updates % self.check_every == 0:
            self._repair()

    def _repair(self) -> None:
        self._fold()
        residual = self._residual()
        drift = self._relative(residual)
        self.largest_drift = max(self.largest_drift, drift)
        self.weights -= np.asarray(blas.dsymm(1.0, self._inverse, np.asfortranarray(residual), lower=1))
        self._score_watched()
        # A residual is a product with all of G: where nothing was wrong before, refining has not made it so.
        if drift > self.tolerance and self.drift() > self.tolerance:
            self.refit()

    def _score_watched(self) -> None:
        self.watched_scores: Matrix = (self._watched @ self.weights.astype(np.float32)).astype(np.float64)
