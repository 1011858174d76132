"""Nearest inquiries by meaning: exact, blockwise, on unit vectors. Quadratic: a pool past 50,000 wants a subset."""

from __future__ import annotations

import numpy as np

from learning.core.preference.evidence import Floats, Ints

BLOCK = 1024


def nearest(queries: Floats, pool: Floats, k: int) -> tuple[Ints, Floats]:
    """Indices and cosines [n, k] of the ``k`` nearest rows of ``pool`` [m, d], nearest first; ties by index.

    A query that is itself in the pool finds itself. Raises ValueError for an empty pool; k is cut to m.
    """
    if not len(pool):
        raise ValueError("There is nothing to be near to.")
    k = min(k, len(pool))
    index = np.empty((len(queries), k), dtype=np.int64)
    cosine = np.empty((len(queries), k), dtype=np.float32)
    for start in range(0, len(queries), BLOCK):
        rows = slice(start, start + BLOCK)
        index[rows], cosine[rows] = _top(queries[rows] @ pool.T, k)
    return index, cosine


def smoothed(pool: Floats, *, k: int = 10, rounds: int = 3) -> Floats:
    """Each inquiry's vector averaged with its ``k`` neighbours', ``rounds`` times: unit vectors [n, d].

    Votes on neighbours then speak for each other. The neighbours are those of the original vectors in every round.
    """
    index, _ = nearest(pool, pool, k + 1)
    for _ in range(rounds):
        pool = np.stack([pool[row].mean(axis=0) for row in index])
        pool = pool / np.maximum(np.linalg.norm(pool, axis=1, keepdims=True), 1e-12)
    return pool


def _top(similarity: Floats, k: int) -> tuple[Ints, Floats]:
    found = np.sort(np.argpartition(-similarity, k - 1, axis=1)[:, :k], axis=1)
    values = np.take_along_axis(similarity, found, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(values, order, axis=1)
