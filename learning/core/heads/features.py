"""The feature maps of the served heads: the embedding alone, or structured random features beside it.

φ(x) = [ √(2/M) · relu(R x) , β x ]. R has M rows of H·D₁·H·D₂·H·D₃ blocks: H the normalised Hadamard matrix, D random
signs (structured orthogonal random features, Yu et al. 2016, arXiv:1610.09072), in place of the dense Gaussian matrix
of RanPAC (McDonnell et al. 2023, arXiv:2307.02251). So R needs no storage, is the same on every machine and with every
library version (its signs come from SHAKE-256 of the seed), and costs O(M log d) per text. With the √(2/M) the kernel
of the first part is the arc-cosine kernel of order 1 (Cho & Saul 2009) with k(x, x) = 1 for unit x, whatever M is, so
regularisation strengths mean the same at any M.

Everything is float64 here: a label is withdrawn by the same numbers, to the last few bits, with which it was added.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
ROUNDS = 3  # fewer make features of one block visibly dependent; more change nothing


@dataclass(frozen=True)
class FeatureMap:
    """φ: [n, dimension] → [n, count + dimension]; ``count`` 0 is the identity. Raises ValueError for bad sizes."""

    dimension: int
    count: int = 0
    seed: int = 0
    direct: float = 0.3  # β: how much the embedding itself counts beside the random features; 1 without them

    def __post_init__(self) -> None:
        if self.dimension < 1 or self.count < 0 or self.seed < 0 or not self.direct > 0:
            raise ValueError(f"no such feature map: {self}")
        if self.count == 0:
            object.__setattr__(self, "direct", 1.0)

    @property
    def width(self) -> int:
        return self.count + self.dimension

    @property
    def block(self) -> tuple[int, int]:
        """Height and width of the grid on which one Hadamard block acts: powers of two, product ≥ dimension."""
        bits = max(1, (self.dimension - 1).bit_length())
        return 1 << bits // 2, 1 << bits - bits // 2

    @property
    def blocks(self) -> int:
        return -(-self.count // (self.block[0] * self.block[1]))

    @cached_property
    def signs(self) -> Matrix:
        """[rounds, blocks, height, width] of ±1."""
        shape = (ROUNDS, self.blocks, *self.block)
        size = int(np.prod(shape))
        label = f"enso features {self.dimension} {self.count} {self.seed}".encode()
        bits = np.unpackbits(np.frombuffer(hashlib.shake_256(label).digest(-(-size // 8)), dtype=np.uint8))[:size]
        return np.asarray(1.0 - 2.0 * bits, dtype=np.float64).reshape(shape)

    @cached_property
    def hadamard(self) -> tuple[Matrix, Matrix]:
        """Orthogonal symmetric Hadamard matrices [height, height] and [width, width]; their Kronecker product acts."""
        return _hadamard(self.block[0]), _hadamard(self.block[1])

    @property
    def gain(self) -> float:
        """The factor after the last round: rows of R then have the norm √(block size), and φ the kernel above."""
        return float(np.sqrt(2.0 / self.count * self.block[0] * self.block[1]))

    def __call__(self, x: npt.ArrayLike) -> Matrix:
        """φ of the rows of ``x`` [n, dimension], float64 [n, width]."""
        rows = np.atleast_2d(np.asarray(x, dtype=np.float64))
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ValueError(f"embeddings must be [n, {self.dimension}], not {list(rows.shape)}")
        if self.count == 0:
            return rows.copy()
        return np.concatenate([np.maximum(self._project(rows), 0.0), self.direct * rows], axis=1)

    def _project(self, rows: Matrix) -> Matrix:
        """√(2/M)·R x for each row, [n, count]."""
        height, width = self.block
        padded = np.zeros((len(rows), 1, height * width))
        padded[:, 0, : self.dimension] = rows
        z = padded.reshape(len(rows), 1, height, width)
        left, right = self.hadamard
        for signs in self.signs:
            z = left @ ((z * signs) @ right)
        flat: Matrix = z.reshape(len(rows), self.blocks * height * width)[:, : self.count] * self.gain
        return flat

    def backward(self, y: Matrix) -> Matrix:
        """√(2/M)·Rᵀ y for each row of ``y`` [n, count], [n, dimension]: the transpose of the random part before ReLU."""
        height, width = self.block
        padded = np.zeros((len(y), self.blocks * height * width))
        padded[:, : self.count] = y * self.gain
        z = padded.reshape(len(y), self.blocks, height, width)
        left, right = self.hadamard
        for signs in self.signs[::-1]:
            z = (left @ (z @ right)) * signs
        flat: Matrix = z.sum(axis=1).reshape(len(y), height * width)[:, : self.dimension]
        return flat


def _hadamard(size: int) -> Matrix:
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return np.asarray(matrix / np.sqrt(size), dtype=np.float64)
