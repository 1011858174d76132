"""The part of a live head that labels do not move until the next base, under changes of the categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from learning.core.heads.prior import normalised

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StillPart:
    """``fixed`` [e + m + 1, K], last row bias; ``prior`` [d, K] counts for the embedding, the last d features.

    The first ``before`` (e) rows belong to the scores of neighbours, which are logarithms.
    """

    fixed: Matrix
    prior: Matrix
    before: int

    @property
    def weights(self) -> Matrix:
        """[e + m, K], bias apart."""
        found = self.fixed[:-1].copy()
        found[len(found) - len(self.prior) :] += self.prior
        return found

    @property
    def bias(self) -> Matrix:
        """[K]."""
        return np.asarray(self.fixed[-1], dtype=np.float64)

    def with_category(self, row: Matrix) -> StillPart:
        """One more category, known by the unit ``row`` [d] (zeros: not at all); its neighbours say what they say of any other."""
        length = float(np.linalg.norm(self.prior, axis=0).max(initial=0.0))
        column = np.zeros((len(self.fixed), 1))
        column[: self.before, 0] = self.fixed[: self.before].mean(axis=1)
        return replace(
            self,
            fixed=np.concatenate([self.fixed, column], axis=1),
            prior=np.concatenate([self.prior, length * row[:, None]], axis=1),
        )

    def merged(self, columns: Sequence[int], target: int) -> StillPart:
        """Regressions add up as their targets would, prototypes find their middle, and so do logarithms: their sum would
        stand below any of them."""
        fixed, prior, those = self.fixed.copy(), self.prior.copy(), [target, *columns]
        fixed[:, target] = self.fixed[:, those].sum(axis=1)
        fixed[: self.before, target] /= len(those)
        prior[:, target] = _middle(self.prior[:, those])
        return replace(self, fixed=fixed, prior=prior).without(columns)

    def without(self, columns: Sequence[int]) -> StillPart:
        fixed, prior = (np.delete(part, columns, axis=1) for part in (self.fixed, self.prior))
        return replace(self, fixed=fixed, prior=prior)


def _middle(columns: Matrix) -> Matrix:
    """The direction between columns, as long as the longest of them: a prototype must not win by its length."""
    direction = normalised(columns.sum(axis=1)[None])[0]
    return np.asarray(direction * np.linalg.norm(columns, axis=0).max(), dtype=np.float64)
