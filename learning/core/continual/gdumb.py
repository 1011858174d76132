"""GDumb (Prabhu et al. 2020): keep a class-balanced sample, and train from nothing on it alone when asked.

What it reaches says how much of a continual learner's success its buffer explains.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from learning.core.continual.buffers import ClassBalanced
from learning.core.continual.learner import Experience, Fetch
from learning.core.heads.linear import fit_linear, with_bias

Matrix = npt.NDArray[np.float64]


class GDumb:
    """Multinomial logistic regression (strength ``C``) on the kept items; ``fetch`` gives embeddings by reference."""

    def __init__(self, classes: int, capacity: int, fetch: Fetch, *, C: float = 100.0, seed: int = 0) -> None:
        self.classes, self.fetch, self.C = classes, fetch, C
        self.buffer = ClassBalanced(capacity)
        self.rng = np.random.default_rng(seed)
        self._theta: Matrix | None = None

    def learn(self, experience: Experience) -> None:
        self.buffer.offer(experience.items, experience.y, np.asarray(experience.x, dtype=np.float64), self.rng)
        self._theta = None

    def scores(self, x: npt.ArrayLike) -> Matrix:
        """[n, K]; trains first where anything was learned since."""
        if self._theta is None:
            y = self.buffer.y
            self._theta = fit_linear(self.fetch(self.buffer.items), np.eye(self.classes)[y], np.ones(len(y)), C=self.C)
        return np.asarray(with_bias(x) @ self._theta, dtype=np.float64)
