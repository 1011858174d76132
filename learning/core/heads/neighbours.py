"""What a text's nearest texts in the pool say of it: the part of the few-label stack that is looked up when it serves.

With N(x) the k rows P_j of the pool that are nearest to a text x, and M(x) the k whose whitened rows Z_j are nearest to its own
z(x), in scores [K]:

    o(x) = Σ_{j∈N} V_j / ‖Σ_{j∈N} P_j‖ + v · log((1 − r) · q(x) + r/K),    q(x) ∝ Σ_{j∈M} max(0, z·Z_j)³ · F_j

V = P·W are the rows under the regression on the neighbours' mean, so that the first term is that regression's score
without its weights; F is what label propagation brought to each row, by the root of its degree: the second term is one
more round of it, to a node that was not in the graph (inductive label propagation, Delalleau et al. 2005). k, the power
and r are those of the stack (learning/core/heads/{graph,experts}.py).

Rows are held in float16, as embeddings are stored, and everything is computed in float32: what is exported says the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from learning.core.heads.graph import NEIGHBOURS, SHARPENING, nearest_rows
from learning.core.heads.whitening import Whitening

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
REST = 0.05  # probability that propagation leaves to categories that no label reaches a text from
SMALLEST = 1e-12
BLOCK = 1024


@dataclass(frozen=True)
class NeighbourScores:
    """``rows`` and ``whitened`` [N, d], ``views`` and ``votes`` [N, K] float16, N ≥ 1; ``share`` is v. ValueError for other shapes."""

    rows: Halves = field(repr=False)
    views: Halves = field(repr=False)
    whitening: Whitening
    whitened: Halves = field(repr=False)
    votes: Halves = field(repr=False)
    share: float
    k: int = NEIGHBOURS

    def __post_init__(self) -> None:
        n, classes = self.views.shape
        rows = (n, len(self.whitening.centre))
        if not n or self.rows.shape != rows or self.whitened.shape != rows or self.votes.shape != (n, classes):
            shapes = (
                f"rows {self.rows.shape}, {self.whitened.shape}, views {self.views.shape}, votes {self.votes.shape}"
            )
            raise ValueError(f"no look-up: {shapes} of {rows[1]} dimensions")
        object.__setattr__(self, "k", min(self.k, n))

    @classmethod
    def of(cls, rows: Floats, views: Floats, whitening: Whitening, votes: Floats, share: float) -> NeighbourScores:
        """From float32; the votes count relative to each other alone, and are scaled to use float16 well."""
        scaled = votes / max(float(votes.max(initial=0.0)), SMALLEST)
        return cls(_half(rows), _half(views), whitening, _half(whitening(rows)), _half(scaled), float(share))

    @property
    def classes(self) -> int:
        return int(self.views.shape[1])

    def __call__(self, x: npt.ArrayLike) -> Floats:
        """o(x) [n, K] float32 of unit embeddings ``x`` [n, d]."""
        own, evened = self._measures(x)
        views = [self._view(at) for at, _ in _found(*own, self.k)]
        passed_on = [self._passed_on(*found) for found in _found(*evened, self.k)]
        if not views:
            return np.zeros((0, self.classes), dtype=np.float32)
        return np.asarray(np.concatenate(views) + np.float32(self.share) * np.concatenate(passed_on), dtype=np.float32)

    def undecided(self, x: npt.ArrayLike, tolerance: float = 1e-5) -> npt.NDArray[np.bool_]:
        """Rows [n] whose k-th and next neighbour, by either measure, are too alike for two ways of adding up to agree on who is in."""
        unsure = np.zeros(len(np.asarray(x)), dtype=bool)
        if self.k == len(self.rows) or not len(unsure):
            return unsure
        for rows, known in self._measures(x):
            gaps = [cosines[:, -2] - cosines[:, -1] for _, cosines in _found(rows, known, self.k + 1)]
            unsure |= np.concatenate(gaps) < tolerance
        return unsure

    def _measures(self, x: npt.ArrayLike) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
        """What is compared with what, by the encoder's cosine and by the whitened one."""
        rows = np.asarray(x, dtype=np.float32)
        own, evened = self.rows.astype(np.float32), self.whitened.astype(np.float32)
        return (rows, own), (self.whitening(rows), evened)

    def _view(self, at: npt.NDArray[np.int32]) -> Floats:
        length = np.linalg.norm(self.rows[at].astype(np.float32).sum(axis=1), axis=1, keepdims=True)
        total = self.views[at].astype(np.float32).sum(axis=1)
        return np.asarray(total / np.maximum(length, np.float32(SMALLEST)), dtype=np.float32)

    def _passed_on(self, at: npt.NDArray[np.int32], cosines: Floats) -> Floats:
        weights = np.maximum(cosines, 0.0) ** np.float32(SHARPENING)
        votes = np.einsum("nk,nkc->nc", weights, self.votes[at].astype(np.float32))
        shares = votes / np.maximum(votes.sum(axis=1, keepdims=True), np.float32(SMALLEST))
        return np.asarray(np.log(np.float32(1.0 - REST) * shares + np.float32(REST / self.classes)), dtype=np.float32)


def _half(part: Floats) -> Halves:
    return part.astype(np.float16)


def _found(rows: Floats, known: Floats, k: int) -> Iterator[tuple[npt.NDArray[np.int32], Floats]]:
    for start in range(0, len(rows), BLOCK):
        yield nearest_rows(rows[start : start + BLOCK], known, k, itself=True)
