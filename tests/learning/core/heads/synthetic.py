"""Made-up embeddings: unit vectors around category directions, in the way that sentence encoders spread them."""

from __future__ import annotations

import numpy as np


def clusters(
    n: int, classes: int, *, d: int = 24, spread: float = 0.6, seed: int = 0, world: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x [n, d] unit, y [n], directions [classes, d] unit); the same ``world`` has the same directions."""
    directions = unit(np.random.default_rng(world).standard_normal((classes, d)))
    rng = np.random.default_rng(seed + 1)
    y = rng.integers(0, classes, n)
    noise = rng.standard_normal((n, d)) * spread / np.sqrt(d) * 2
    return unit(directions[y] + noise), y, directions


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
