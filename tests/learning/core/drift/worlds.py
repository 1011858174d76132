"""Small worlds of unit vectors with planted topics: clusters of unequal size around random directions."""

from __future__ import annotations

import numpy as np

DIMENSIONS = 24


class World:
    """``topics`` clusters; the tightness varies, as that of real categories does."""

    def __init__(self, topics: int = 12, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.centres = rng.normal(size=(topics, DIMENSIONS))
        self.centres /= np.linalg.norm(self.centres, axis=1, keepdims=True)
        self.spread = rng.uniform(0.08, 0.16, topics)
        self.shares = rng.dirichlet(np.full(topics, 8.0))

    def topics(self, n: int, rng: np.random.Generator, among: list[int] | None = None) -> np.ndarray:
        """Topic ids of n texts, by their shares."""
        shares = self.shares if among is None else np.where(np.isin(np.arange(len(self.shares)), among), self.shares, 0)
        return rng.choice(len(self.shares), n, p=shares / shares.sum())

    def texts(self, topics: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Unit embeddings of texts of these topics."""
        x = self.centres[topics] + self.spread[topics, None] * rng.normal(size=(len(topics), DIMENSIONS))
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
