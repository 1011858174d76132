"""Learners with nothing to forget: sums over labels, which come out the same in any order.

Nearest class mean, streaming linear discriminant analysis (Hayes & Kanan 2020, arXiv:1909.01520), and the same in a
random-feature space (kernel LDA; RanPAC's features). The ridge is in learning/core/heads/ridge.py.

All take `add` and `withdraw` of labels [n] with embeddings [n, d] and weights; `scores` gives [n, K] whose largest is the
answer. They are not probabilities.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from learning.core.heads.features import FeatureMap

Matrix = npt.NDArray[np.float64]
UNSEEN = -1e9  # score of a category without labels


class ClassMeans:
    """Nearest class mean by cosine."""

    def __init__(self, dimension: int, classes: int) -> None:
        self.sums: Matrix = np.zeros((classes, dimension))
        self.weight: Matrix = np.zeros(classes)

    def add(self, x: npt.ArrayLike, y: npt.NDArray[np.integer], weights: npt.ArrayLike = 1.0) -> None:
        rows = np.asarray(x, dtype=np.float64)
        w = np.broadcast_to(np.asarray(weights, dtype=np.float64), (len(rows),))
        np.add.at(self.sums, y, rows * w[:, None])
        np.add.at(self.weight, y, w)

    def withdraw(self, x: npt.ArrayLike, y: npt.NDArray[np.integer], weights: npt.ArrayLike = 1.0) -> None:
        self.add(x, y, -np.asarray(weights, dtype=np.float64))

    @property
    def means(self) -> Matrix:
        """[K, d]; zeros for a category without labels."""
        return np.asarray(self.sums / np.where(self.weight > 0, self.weight, 1.0)[:, None], dtype=np.float64)

    def scores(self, x: npt.ArrayLike) -> Matrix:
        means = self.means
        lengths = np.linalg.norm(means, axis=1)
        found = np.asarray(x, dtype=np.float64) @ (means / np.where(lengths > 0, lengths, 1.0)[:, None]).T
        return np.where(self.weight > 0, found, UNSEEN)


class StreamingLda(ClassMeans):
    """Gaussian classes with one covariance, Σ = (Σ w x xᵀ − Σ_k W_k μ_k μ_kᵀ)/W, shrunk towards its mean variance."""

    def __init__(self, dimension: int, classes: int, *, shrinkage: float = 0.01) -> None:
        super().__init__(dimension, classes)
        self.second: Matrix = np.zeros((dimension, dimension))
        self.shrinkage = shrinkage

    def add(self, x: npt.ArrayLike, y: npt.NDArray[np.integer], weights: npt.ArrayLike = 1.0) -> None:
        super().add(x, y, weights)
        rows = np.asarray(x, dtype=np.float64)
        w = np.broadcast_to(np.asarray(weights, dtype=np.float64), (len(rows),))
        self.second += rows.T @ (rows * w[:, None])

    @property
    def covariance(self) -> Matrix:
        means, total = self.means, max(float(self.weight.sum()), 1e-12)
        within = (self.second - (means.T * self.weight) @ means) / total
        spread = float(np.trace(within)) / len(within)
        return np.asarray((1 - self.shrinkage) * within + self.shrinkage * max(spread, 1e-12) * np.eye(len(within)))

    def scores(self, x: npt.ArrayLike) -> Matrix:
        """Linear discriminants, with equal priors as the source has them."""
        means = self.means
        directions = cho_solve(cho_factor(self.covariance), means.T)
        offsets = -0.5 * np.einsum("kd,dk->k", means, directions)
        return np.where(self.weight > 0, np.asarray(x, dtype=np.float64) @ directions + offsets, UNSEEN)


class KernelLda(StreamingLda):
    """Streaming LDA on random features of the embeddings."""

    def __init__(self, features: FeatureMap, classes: int, *, shrinkage: float = 0.01) -> None:
        super().__init__(features.width, classes, shrinkage=shrinkage)
        self.features = features

    def add(self, x: npt.ArrayLike, y: npt.NDArray[np.integer], weights: npt.ArrayLike = 1.0) -> None:
        super().add(self.features(x), y, weights)

    def scores(self, x: npt.ArrayLike) -> Matrix:
        return super().scores(self.features(x))
