"""A small world of categories that arrive one task after another."""

from __future__ import annotations

import numpy as np

from learning.core.continual.learner import ContinualLearner, Experience, Options
from tests.learning.core.heads.synthetic import clusters

K, D, N = 6, 16, 480


class World:
    """Embeddings ``x`` [N, D] with labels ``y``, as many to be tested on, and experiences of two categories each."""

    def __init__(self, seed: int = 0, spread: float = 0.5) -> None:
        self.x, self.y, _ = clusters(N, K, d=D, spread=spread, seed=seed)
        self.test_x, self.test_y, _ = clusters(N, K, d=D, spread=spread, seed=seed + 100)

    def experience(self, *labels: int) -> Experience:
        at = np.flatnonzero(np.isin(self.y, labels))
        return Experience(at, self.x[at], self.y[at])

    def learner(self, classes: int = K, **options: object) -> ContinualLearner:
        given = Options(**{"epochs": 12, "rate": 0.02, "batch": 64, **options})  # type: ignore[arg-type]
        return ContinualLearner(D, classes, given, lambda items: self.x[items])

    def taught(self, **options: object) -> ContinualLearner:
        """Three tasks, one after another."""
        learner = self.learner(**options)
        for labels in ((0, 1), (2, 3), (4, 5)):
            learner.learn(self.experience(*labels))
        return learner

    def accuracy(self, learner: ContinualLearner, *labels: int) -> float:
        rows = np.isin(self.test_y, labels or range(K))
        return float((learner.scores(self.test_x[rows]).argmax(axis=1) == self.test_y[rows]).mean())
