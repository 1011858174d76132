"""Random-feature ridge as sufficient statistics: every label can be added, changed or withdrawn, in any order.

With features φ(x) (learning/core/heads/features.py), one-hot targets t and weights w, RanPAC's head (McDonnell et al.
2023, arXiv:2307.02251) is W = (G + λI)⁻¹ C, G = Σ w φφᵀ [m, m], C = Σ w φtᵀ [m, K]. Sums do not depend on their order,
so nothing is forgotten, a withdrawn label leaves nothing behind, and statistics of shards add up. Each category has its
own column of C: renaming, merging and removing categories is exact; splitting one is a change of the rows that move.

learning/core/heads/online.py keeps the solution current under single labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import blas, cho_factor, cho_solve

Matrix = npt.NDArray[np.float64]
PENDING = 128  # single rows wait for so many before they are folded into G by one product


class RidgeStatistics:
    """G, C and, per category, the weight and number of its labels; float64 throughout.

    Labels are given as positions in ``categories`` (or, when adding, as rows of target probabilities). Raises
    ValueError for features of another width and for labels that do not exist.
    """

    def __init__(self, width: int, categories: Sequence[str]) -> None:
        if len(set(categories)) != len(categories):
            raise ValueError("a category is listed twice")
        self.categories = list(categories)
        self.cross: Matrix = np.zeros((width, len(categories)))
        self.weight: Matrix = np.zeros(len(categories))
        self.count: Matrix = np.zeros(len(categories))
        self._gram: Matrix = np.zeros((width, width), order="F")  # the lower triangle alone is kept
        self._rows: list[Matrix] = []

    @property
    def width(self) -> int:
        return len(self.cross)

    @property
    def gram(self) -> Matrix:
        """G, symmetric [m, m] (a copy)."""
        lower = np.tril(self._folded())
        return np.asarray(lower + np.tril(lower, -1).T, dtype=np.float64)

    def add(self, phi: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike = 1.0) -> None:
        """Add labels: ``phi`` [n, m] or [m], ``y`` [n] or an integer, or target probabilities [n, K]."""
        self._move(phi, y, weights, sign=1.0)

    def withdraw(self, phi: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike = 1.0) -> None:
        """Take labels back that were added with these values: as if they had never been."""
        self._move(phi, y, weights, sign=-1.0)

    def change(self, phi: npt.ArrayLike, old: npt.ArrayLike, new: npt.ArrayLike, weights: npt.ArrayLike = 1.0) -> None:
        """Give labels another category; G stays as it is."""
        rows, w = self._rows_of(phi, weights)
        before, after = self.targets(old, len(rows)), self.targets(new, len(rows))
        self._shift_cross(rows, w[:, None] * (after - before))
        self.weight += w @ (after - before)
        self.count += (after - before).sum(axis=0)

    def merge(self, other: RidgeStatistics) -> None:
        """Add the statistics of another shard with the same categories: exactly those of all labels together."""
        if other.categories != self.categories or other.width != self.width:
            raise ValueError("statistics of different categories or features do not add up")
        self._gram = np.asfortranarray(self._folded() + other._folded())
        self.cross = self.cross + other.cross
        self.weight = self.weight + other.weight
        self.count = self.count + other.count

    def add_category(self, key: str) -> None:
        if key in self.categories:
            raise ValueError(f"the category {key} exists already")
        self.categories.append(key)
        self.cross = np.concatenate([self.cross, np.zeros((self.width, 1))], axis=1)
        self.weight, self.count = np.append(self.weight, 0.0), np.append(self.count, 0.0)

    def rename_category(self, old: str, new: str) -> None:
        if new in self.categories and new != old:
            raise ValueError(f"the category {new} exists already")
        self.categories[self.index(old)] = new

    def merge_categories(self, sources: Iterable[str], into: str) -> None:
        """The labels of ``sources`` become labels of ``into`` (which may be one of them); the sources go."""
        target = self.index(into)
        for at in sorted({self.index(s) for s in sources} - {target}, reverse=True):
            for table in (self.cross.T, self.weight, self.count):
                table[target] += table[at]
                table[at] = 0.0
            self.delete_category(self.categories[at])
            target = self.index(into)

    def delete_category(self, key: str) -> None:
        """Remove a category that has no labels any more; withdraw or change them first (ValueError otherwise)."""
        at = self.index(key)
        if round(self.count[at], 6):
            raise ValueError(f"the category {key} still has labels: withdraw or change them first")
        del self.categories[at]
        self.cross = np.delete(self.cross, at, axis=1)
        self.weight, self.count = np.delete(self.weight, at), np.delete(self.count, at)

    def index(self, key: str) -> int:
        try:
            return self.categories.index(key)
        except ValueError:
            raise ValueError(f"there is no category {key}") from None

    def solve(self, lam: float) -> Matrix:
        """W = (G + λI)⁻¹ C, [m, K], by Cholesky. Raises numpy.linalg.LinAlgError where λ is too small for float64."""
        return np.asarray(cho_solve(self.factor(lam), self.cross), dtype=np.float64)

    def factor(self, lam: float) -> tuple[Matrix, bool]:
        """Cholesky factor of G + λI in SciPy's form (lower)."""
        shifted = self._folded().copy(order="F")
        shifted[np.diag_indices_from(shifted)] += lam
        factor, lower = cho_factor(shifted, lower=True, overwrite_a=True)
        return factor, bool(lower)

    def gram_times(self, right: Matrix) -> Matrix:
        """G @ right for [m, k], without forming the upper triangle."""
        return np.asarray(blas.dsymm(1.0, self._folded(), np.asfortranarray(right), lower=1), dtype=np.float64)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything, as plain arrays to be stored."""
        keys = np.array(self.categories, dtype=np.str_)
        return {
            "gram": np.tril(self._folded()),
            "cross": self.cross,
            "weight": self.weight,
            "count": self.count,
            "categories": keys,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[np.generic]]) -> RidgeStatistics:
        """The inverse of `arrays`."""
        cross = np.array(arrays["cross"], dtype=np.float64)
        made = cls(len(cross), [str(key) for key in arrays["categories"]])
        made.cross, made._gram = cross, np.array(arrays["gram"], dtype=np.float64, order="F")
        made.weight = np.array(arrays["weight"], dtype=np.float64)
        made.count = np.array(arrays["count"], dtype=np.float64)
        return made

    def targets(self, y: npt.ArrayLike, n: int) -> Matrix:
        """Labels as rows [n, K] of target probabilities."""
        given = np.asarray(y)
        if given.ndim == 2 and given.shape == (n, len(self.categories)):
            return np.asarray(given, dtype=np.float64)
        labels = np.broadcast_to(given, (n,)) if given.ndim == 0 else given
        if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"{n} rows need {n} integer labels or target rows, not {list(given.shape)} {given.dtype}")
        if n and not (labels.min() >= 0 and labels.max() < len(self.categories)):
            raise ValueError(f"a label lies outside the {len(self.categories)} categories")
        rows = np.zeros((n, len(self.categories)))
        rows[np.arange(n), labels] = 1.0
        return rows

    def _move(self, phi: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike, *, sign: float) -> None:
        rows, w = self._rows_of(phi, weights)
        targets = self.targets(y, len(rows))
        self._shift_cross(rows, sign * w[:, None] * targets)
        self.weight += sign * (w @ targets)
        self.count += sign * targets.sum(axis=0)
        if len(rows) < PENDING:
            self._rows += [np.append(row * np.sqrt(v), sign) for row, v in zip(rows, w, strict=True)]
            if len(self._rows) >= PENDING:
                self._folded()
        else:
            self._fold(rows * np.sqrt(w)[:, None], sign)

    def _shift_cross(self, rows: Matrix, steps: Matrix) -> None:
        """C += rowsᵀ·steps; a single label touches one or two columns only."""
        touched = np.flatnonzero(np.abs(steps).sum(axis=0))
        self.cross[:, touched] += rows.T @ steps[:, touched]

    def _rows_of(self, phi: npt.ArrayLike, weights: npt.ArrayLike) -> tuple[Matrix, Matrix]:
        rows = np.atleast_2d(np.asarray(phi, dtype=np.float64))
        if rows.shape[1] != self.width:
            raise ValueError(f"features have {rows.shape[1]} columns, not {self.width}")
        w = np.broadcast_to(np.asarray(weights, dtype=np.float64), (len(rows),))
        if not (np.isfinite(rows).all() and np.isfinite(w).all() and (w >= 0).all()):
            raise ValueError("features and weights must be finite, weights not negative")
        return rows, w

    def _folded(self) -> Matrix:
        if self._rows:
            pending = np.stack(self._rows)
            self._rows.clear()
            for sign in (1.0, -1.0):
                self._fold(pending[pending[:, -1] == sign, :-1], sign)
        return self._gram

    def _fold(self, scaled: Matrix, sign: float) -> None:
        if len(scaled):
            columns = np.asfortranarray(scaled.T)
            self._gram = blas.dsyrk(sign, columns, beta=1.0, c=self._gram, lower=1, overwrite_c=1)


def held_out_scores(
    phi: Matrix, targets: Matrix, weights: Matrix, folds: npt.NDArray[np.integer], lams: Sequence[float]
) -> Iterator[tuple[float, Matrix]]:
    """(λ, scores [n, K]) of each row by a head that was fitted without the row's fold, in closed form.

    ``folds`` holds the fold of each row, or −1 for rows that every fit sees (their scores stay 0). Fits are made on the
    n × n kernel while n ≤ m, on statistics less those of the fold above that.
    """
    scores = {lam: np.zeros_like(targets) for lam in lams}
    rooted = phi * np.sqrt(weights)[:, None]
    wanted = targets * np.sqrt(weights)[:, None]
    fit = _DualFolds(phi, rooted, wanted) if len(phi) <= phi.shape[1] else _PrimalFolds(phi, rooted, wanted)
    for fold in np.unique(folds[folds >= 0]):
        inside = folds == fold
        for lam, predicted in fit.scores(inside, lams):
            scores[lam][inside] = predicted
    yield from scores.items()


class _PrimalFolds:
    def __init__(self, phi: Matrix, rooted: Matrix, wanted: Matrix) -> None:
        self.phi, self.rooted, self.wanted = phi, rooted, wanted
        self.gram, self.cross = rooted.T @ rooted, rooted.T @ wanted

    def scores(self, inside: npt.NDArray[np.bool_], lams: Sequence[float]) -> Iterator[tuple[float, Matrix]]:
        gram = self.gram - self.rooted[inside].T @ self.rooted[inside]
        cross = self.cross - self.rooted[inside].T @ self.wanted[inside]
        for lam in lams:
            yield lam, self.phi[inside] @ _solve(gram, cross, lam)


class _DualFolds:
    def __init__(self, phi: Matrix, rooted: Matrix, wanted: Matrix) -> None:
        self.kernel, self.mixed, self.wanted = rooted @ rooted.T, phi @ rooted.T, wanted

    def scores(self, inside: npt.NDArray[np.bool_], lams: Sequence[float]) -> Iterator[tuple[float, Matrix]]:
        kernel = self.kernel[np.ix_(~inside, ~inside)]
        for lam in lams:
            yield lam, self.mixed[np.ix_(inside, ~inside)] @ _solve(kernel, self.wanted[~inside], lam)


def _solve(gram: Matrix, right: Matrix, lam: float) -> Matrix:
    shifted = gram.copy()
    shifted[np.diag_indices_from(shifted)] += lam
    return np.asarray(cho_solve(cho_factor(shifted, lower=True, overwrite_a=True), right), dtype=np.float64)
