"""The pool's neighbours: what unlabeled texts say about each other, computed once for any number of refits.

Where neighbours in meaning share labels, the mean of a text's neighbours is a cleaner view of it than the text alone, and
labels can be passed along a graph. Where they do not, the stack gives both no weight. The mean is taken over the ``k``
nearest by the encoder's cosine; in the graph each text is joined, both ways, to its ``k`` nearest by the whitened cosine
(learning/core/heads/whitening.py), weighed by its cube (negative ones count as 0). By one measure for both the experts would
err about the same texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from learning.core.heads.whitening import Whitening

Floats = npt.NDArray[np.float32]
NEIGHBOURS = 10
SHARPENING = 3.0  # cosine to this power weighs an edge
ROUNDS = 30
BLOCK = 1024


class Affinity(NamedTuple):
    """``matrix`` D^−½ W D^−½ [N + E, N + E] float32 of the graph's edges W, and ``roots`` [N + E], the diagonal of D^½."""

    matrix: sparse.csr_matrix
    roots: Floats


@dataclass(frozen=True)
class Pool:
    """Texts, labeled and not: ``x`` [N, d] unit rows, ``means`` [N, d] the unit mean of each text's neighbours. Whitened they
    are ``z`` [N, d], and joined to ``joined`` by ``cosines`` [N, k], nearest first, without the text itself."""

    x: Floats
    means: Floats
    whitening: Whitening
    z: Floats
    joined: npt.NDArray[np.int32]
    cosines: Floats

    @classmethod
    def of(cls, x: npt.ArrayLike, k: int = NEIGHBOURS) -> Pool:
        """Quadratic in the number of rows; give it a sample of a large pool that holds all labeled texts."""
        rows = np.ascontiguousarray(x, dtype=np.float32)
        k, whitening = min(k, len(rows) - 1), Whitening.of(rows)
        near, _ = nearest_rows(rows, rows, k, itself=False)
        z = whitening(rows)
        return cls(rows, mean_of(rows, near), whitening, z, *nearest_rows(z, z, k, itself=False))

    def __len__(self) -> int:
        return len(self.x)

    @property
    def views(self) -> Floats:
        """[x, mean of its neighbours] as [N, 2d]."""
        return np.concatenate([self.x, self.means], axis=1)

    def seen(self, x: Floats) -> Floats:
        """The same view of other texts [n, 2d], such as category names, whose neighbours lie in the pool."""
        at, _ = nearest_rows(x, self.x, min(NEIGHBOURS, len(self.x)), itself=True)
        return np.concatenate([x, mean_of(self.x, at)], axis=1)

    def affinity(self, extra: Floats | None = None) -> Affinity:
        """Of the pool; rows ``extra`` [E, d] (category names) are joined as further nodes."""
        n = len(self.x)
        parts = [_edges(np.arange(n), self.joined, self.cosines)]
        size = n
        if extra is not None and len(extra):
            at, cosines = nearest_rows(self.whitening(extra), self.z, min(NEIGHBOURS, n), itself=True)
            parts.append(_edges(np.arange(n, n + len(extra)), at, cosines))
            size += len(extra)
        rows, columns, weights = (np.concatenate(each) for each in zip(*parts, strict=True))
        one_way = sparse.csr_matrix((weights, (rows, columns)), shape=(size, size))
        both = one_way.maximum(one_way.T).tocsr()
        degree = np.sqrt(np.asarray(both.sum(axis=1)).ravel())
        scale = sparse.diags(np.divide(1.0, degree, out=np.zeros_like(degree), where=degree > 0))
        return Affinity((scale @ both @ scale).tocsr().astype(np.float32), degree.astype(np.float32))


def propagate(affinity: sparse.csr_matrix, seeds: Floats, alpha: float) -> Floats:
    """(1 − α)(I − αS)⁻¹ seeds, [N, C], by ``ROUNDS`` rounds of F ← αSF + (1 − α)·seeds (Zhou et al. 2004)."""
    f = seeds
    for _ in range(ROUNDS):
        f = np.float32(alpha) * (affinity @ f) + np.float32(1.0 - alpha) * seeds
    return np.asarray(f, dtype=np.float32)


def nearest_rows(x: Floats, among: Floats, k: int, *, itself: bool) -> tuple[npt.NDArray[np.int32], Floats]:
    """Positions and cosines [n, k] of the nearest rows of ``among``; without ``itself`` row i of x skips row i."""
    at, cosines = np.empty((len(x), k), dtype=np.int32), np.empty((len(x), k), dtype=np.float32)
    for start in range(0, len(x), BLOCK):
        s = x[start : start + BLOCK] @ among.T
        if not itself:
            s[np.arange(len(s)), np.arange(start, start + len(s))] = -np.inf
        near = (
            np.argpartition(s, s.shape[1] - k, axis=1)[:, s.shape[1] - k :] if k else np.empty((len(s), 0), dtype=int)
        )
        value = np.take_along_axis(s, near, axis=1)
        order = np.argsort(-value, axis=1, kind="stable")
        at[start : start + len(s)] = np.take_along_axis(near, order, axis=1)
        cosines[start : start + len(s)] = np.take_along_axis(value, order, axis=1)
    return at, cosines


def mean_of(x: Floats, at: npt.NDArray[np.int32]) -> Floats:
    """Unit mean of the rows at ``at`` [n, k]; zeros where there are none or they cancel out."""
    total = np.zeros((len(at), x.shape[1]), dtype=np.float32)
    for column in at.T:
        total += x[column]
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(np.divide(total, length, out=np.zeros_like(total), where=length > 1e-12), dtype=np.float32)


def _edges(
    nodes: npt.NDArray[np.intp], at: npt.NDArray[np.int32], cosines: Floats
) -> tuple[npt.NDArray[np.generic], ...]:
    weights = np.maximum(cosines, 0.0) ** SHARPENING
    return np.repeat(nodes, at.shape[1]), at.ravel().astype(np.intp), weights.ravel()
