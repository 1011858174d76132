"""A second measure of nearness: cosines after the directions in which all texts differ alike have been evened out.

    z(x) = Mᵀ(x − c) / ‖Mᵀ(x − c)‖,   M = U ((1 − ρ)Λ + ρ·mean(Λ)·I)^−½

c is the pool's mean, U and Λ the eigenvectors and eigenvalues of its covariance. In an encoder's own cosine a few
directions (length, tone, what the whole company is about) decide who is near whom; here all count alike. Graphs by the two
measures err about different texts. ρ is what shrinkage towards a multiple of the identity asks for (oracle approximating
shrinkage, Chen et al. 2010, IEEE Trans. Signal Process. 58, equation 23): small pools, whose small eigenvalues are noise,
are hardly evened out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
SMALLEST = 1e-12


@dataclass(frozen=True)
class Whitening:
    """``centre`` [d], ``matrix`` M [d, d], float32. Raises ValueError for other shapes."""

    centre: Floats = field(repr=False)
    matrix: Floats = field(repr=False)

    def __post_init__(self) -> None:
        d = len(self.centre)
        if self.centre.shape != (d,) or self.matrix.shape != (d, d):
            raise ValueError(f"no whitening: centre {self.centre.shape}, matrix {self.matrix.shape}")

    @classmethod
    def of(cls, x: npt.ArrayLike) -> Whitening:
        """From texts [n, d], n ≥ 1."""
        rows = np.asarray(x, dtype=np.float64)
        centre = rows.mean(axis=0)
        covariance = (rows.T @ rows) / len(rows) - np.outer(centre, centre)
        values, vectors = np.linalg.eigh(covariance)
        rho, mean = shrinkage(covariance, len(rows)), float(np.trace(covariance)) / len(covariance)
        gains = 1.0 / np.sqrt(np.maximum((1.0 - rho) * values + rho * mean, SMALLEST))
        return cls(centre.astype(np.float32), (vectors * gains).astype(np.float32))

    def __call__(self, x: npt.ArrayLike) -> Floats:
        """z(x) [n, d]; zeros for a text that lies at the centre."""
        z = (np.asarray(x, dtype=np.float32) - self.centre) @ self.matrix
        return np.asarray(z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), np.float32(SMALLEST)), np.float32)


def shrinkage(covariance: npt.NDArray[np.float64], n: int) -> float:
    """ρ in [0, 1], the weight of the identity beside the covariance [d, d] of ``n`` rows.

    >>> shrinkage(np.diag([1.0, 1.0]), 10)  # nothing but noise distinguishes these directions
    1.0
    >>> round(shrinkage(np.diag([4.0, 1.0]), 10), 2), round(shrinkage(np.diag([4.0, 1.0]), 1000), 3)
    (0.56, 0.006)
    """
    d, squared, trace = len(covariance), float(np.square(covariance).sum()), float(np.trace(covariance))
    spread = (n + 1.0 - 2.0 / d) * (squared - trace * trace / d)
    if spread <= SMALLEST * squared or squared <= 0.0:
        return 1.0
    return min(1.0, ((1.0 - 2.0 / d) * squared + trace * trace) / spread)
