"""Distances between unit vectors in blocks, close pairs, a compact kernel, and k-means: what drift needs of space, in
plain numpy.

Distance is 1 - cosine throughout. The kernel is (1 - d/r)^2 for d < r and 0 beyond, so that only close pairs have to be
kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

BLOCK = 512  # rows of a distance block: 512 x 8,000 float32 = 16 MB


def distance_blocks(x: Floats, y: Floats) -> Iterator[tuple[slice, Floats]]:
    """Rows of the distance matrix between ``x`` (n, d) and ``y`` (m, d), a block at a time."""
    for start in range(0, len(x), BLOCK):
        rows = slice(start, min(start + BLOCK, len(x)))
        block = x[rows] @ y.T
        np.subtract(1.0, block, out=block)
        yield rows, np.maximum(block, 0, out=block)


def nearest_others(x: Floats, k: int) -> tuple[Ints, Floats]:
    """The ``k`` nearest other rows of each row of ``x``: indices and ascending distances, both (n, k)."""
    index, distance = np.empty((len(x), k), np.int64), np.empty((len(x), k), np.float32)
    for rows, block in distance_blocks(x, x):
        block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = np.inf
        part = np.argpartition(block, k - 1, axis=1)[:, :k]
        value = np.take_along_axis(block, part, 1)
        order = np.argsort(value, axis=1, kind="stable")
        index[rows], distance[rows] = np.take_along_axis(part, order, 1), np.take_along_axis(value, order, 1)
    return index, distance


def close_pairs(x: Floats, radius: float) -> tuple[Ints, Ints, Floats]:
    """All pairs i < j of rows of ``x`` closer than ``radius``, with their kernel."""
    left, right, value = [], [], []
    for rows, block in distance_blocks(x, x):
        i, j = np.nonzero(block < radius)
        keep = i + rows.start < j
        i, j = i[keep], j[keep]
        left.append(i + rows.start)
        right.append(j)
        value.append(kernel(block[i, j], radius))
    return np.concatenate(left), np.concatenate(right), np.concatenate(value)


def kernel(distance: Floats, radius: float) -> Floats:
    """(1 - d/r)^2 below the radius, 0 beyond."""
    close = np.maximum(1 - distance / np.float32(radius), 0)
    return np.asarray(close * close, dtype=np.float32)


def nearest_centre(x: Floats, centres: Floats) -> Ints:
    """Index of the most similar centre of each row."""
    return np.asarray((x @ centres.T).argmax(1), dtype=np.int64)


def k_means(x: Floats, k: int, rng: np.random.Generator, *, rounds: int = 15) -> Floats:
    """Spherical k-means with k-means++ seeding on at most 5,000 rows: ``k`` unit centres (k, d)."""
    x = x[rng.choice(len(x), 5000, replace=False)] if len(x) > 5000 else x
    centres = _seeds(x, k, rng)
    for _ in range(rounds):
        cell = nearest_centre(x, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, cell, x)
        norm = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(norm > 0, sums / np.maximum(norm, 1e-12), centres)
    return centres


def _seeds(x: Floats, k: int, rng: np.random.Generator, *, trials: int = 4) -> Floats:
    """k-means++ (Arthur and Vassilvitskii 2007), each time the best of a few draws."""
    chosen = [int(rng.integers(len(x)))]
    gap = np.maximum(1 - x @ x[chosen[0]], 0)
    for _ in range(k - 1):
        chance = gap / gap.sum() if gap.sum() > 0 else None  # all alike: any will do
        drawn = rng.choice(len(x), trials, p=chance)
        gaps = np.minimum(gap[:, None], np.maximum(1 - x @ x[drawn].T, 0))
        best = int(gaps.sum(0).argmin())
        chosen.append(int(drawn[best]))
        gap = gaps[:, best]
    return x[chosen]
