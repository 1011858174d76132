"""What a text's nearest texts in the pool say of it: the part of the few-label stack that is looked up when it serves.

With N(x) the k rows P_j of the pool that are nearest to a text x, in scores [K]:

    o(x) = Σ_{j∈N} V_j / ‖Σ_{j∈N} P_j‖ + v · log((1 − r) · q(x) + r/K),    q(x) ∝ Σ_{j∈N} max(0, x·P_j)³ · F_j

V = P·W are the rows under the regression on the neighbours' mean, so that the first term is that regression's score
without its weights; F is what label propagation brought to each row, by the root of its degree: the second term is one
more round of it, to a node that was not in the graph (inductive label propagation, Delalleau et al. 2005). k, the power
and r are those of the stack (learning/core/heads/{graph,experts}.py).

Everything is held in float16, as embeddings are stored, and computed in float32: what is exported says the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from learning.core.heads.graph import NEIGHBOURS, SHARPENING, nearest_rows

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
REST = 0.05  # probability that propagation leaves to categories that no label reaches a text from
SMALLEST = 1e-12
BLOCK = 1024


@dataclass(frozen=True)
class NeighbourScores:
    """``rows`` [N, d], ``views`` and ``votes`` [N, K] float16, N ≥ 1; ``share`` is v. Raises ValueError for other shapes."""

    rows: Halves = field(repr=False)
    views: Halves = field(repr=False)
    votes: Halves = field(repr=False)
    share: float
    k: int = NEIGHBOURS

    def __post_init__(self) -> None:
        n, classes = self.views.shape
        if not n or self.rows.shape[0] != n or self.votes.shape != (n, classes):
            raise ValueError(f"no look-up: rows {self.rows.shape}, views {self.views.shape}, votes {self.votes.shape}")
        object.__setattr__(self, "k", min(self.k, n))

    @classmethod
    def of(cls, rows: Floats, views: Floats, votes: Floats, share: float) -> NeighbourScores:
        """From float32; the votes count relative to each other alone, and are scaled to use float16 well."""
        scaled = votes / max(float(votes.max(initial=0.0)), SMALLEST)
        return cls(rows.astype(np.float16), views.astype(np.float16), scaled.astype(np.float16), float(share))

    @property
    def classes(self) -> int:
        return int(self.views.shape[1])

    def __call__(self, x: npt.ArrayLike) -> Floats:
        """o(x) [n, K] float32 of unit embeddings ``x`` [n, d]."""
        parts = [self._scores(block, *found) for block, found in self._found(x, self.k)]
        return np.concatenate(parts) if parts else np.zeros((0, self.classes), dtype=np.float32)

    def undecided(self, x: npt.ArrayLike, tolerance: float = 1e-5) -> npt.NDArray[np.bool_]:
        """Rows [n] whose k-th and next neighbour are too alike for two ways of adding up to agree on who is in."""
        if self.k == len(self.rows):
            return np.zeros(len(np.asarray(x)), dtype=bool)
        gaps = [cosines[:, -2] - cosines[:, -1] for _, (_, cosines) in self._found(x, self.k + 1)]
        return np.concatenate(gaps) < tolerance if gaps else np.zeros(0, dtype=bool)

    def _found(self, x: npt.ArrayLike, k: int) -> Iterator[tuple[Floats, tuple[npt.NDArray[np.int32], Floats]]]:
        rows, known = np.asarray(x, dtype=np.float32), self.rows.astype(np.float32)
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            yield block, nearest_rows(block, known, k, itself=True)

    def _scores(self, x: Floats, at: npt.NDArray[np.int32], cosines: Floats) -> Floats:
        length = np.linalg.norm(self.rows[at].astype(np.float32).sum(axis=1), axis=1, keepdims=True)
        views = self.views[at].astype(np.float32).sum(axis=1) / np.maximum(length, np.float32(SMALLEST))
        weights = np.maximum(cosines, 0.0) ** np.float32(SHARPENING)
        votes = np.einsum("nk,nkc->nc", weights, self.votes[at].astype(np.float32))
        shares = votes / np.maximum(votes.sum(axis=1, keepdims=True), np.float32(SMALLEST))
        passed_on = np.log(np.float32(1.0 - REST) * shares + np.float32(REST / self.classes))
        return np.asarray(views + np.float32(self.share) * passed_on, dtype=np.float32)
