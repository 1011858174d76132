"""Grouping unit vectors: spherical k-means, enough for strategies that want one item of each group."""

from __future__ import annotations

import numpy as np

from learning.selection.state import Floats, Ints, blocks

ROUNDS = 12  # groups for picking need no convergence to the last item


def spherical_kmeans(x: Floats, k: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Group of each row of ``x`` [n, d] and the unit centres [≤ k, d]; starts from k-means++."""
    centres = x[_spread(x, min(k, len(x)), rng)]
    owner = nearest_centre(x, centres)
    for _ in range(ROUNDS):
        sums = np.zeros_like(centres)
        np.add.at(sums, owner, x)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(length > 0, sums / np.maximum(length, 1e-12), centres)
        before, owner = owner, nearest_centre(x, centres)
        if np.array_equal(before, owner):
            break
    return owner, centres


def nearest_centre(x: Floats, centres: Floats) -> Ints:
    owner = np.empty(len(x), dtype=np.int64)
    for part in blocks(len(x)):
        owner[part] = (x[part] @ centres.T).argmax(axis=1)
    return owner


def weighted_draw(weight: np.ndarray, rng: np.random.Generator) -> int:
    """A position drawn with chances proportional to ``weight`` ≥ 0 (all alike where every weight is 0)."""
    total = np.cumsum(np.asarray(weight, dtype=np.float64))
    if not total[-1] > 0:
        return int(rng.integers(len(total)))
    return int(min(np.searchsorted(total, rng.random() * total[-1], side="right"), len(total) - 1))


def _spread(x: Floats, k: int, rng: np.random.Generator) -> Ints:
    """k-means++ (Arthur & Vassilvitskii 2007): each next centre is drawn by squared distance to those so far."""
    chosen = [int(rng.integers(len(x)))]
    distance = np.maximum(1.0 - x @ x[chosen[0]], 0.0)
    while len(chosen) < k:
        chosen.append(weighted_draw(distance, rng))
        np.minimum(distance, np.maximum(1.0 - x @ x[chosen[-1]], 0.0), out=distance)
    return np.array(chosen, dtype=np.int64)
