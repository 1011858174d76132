"""Small worlds for selection: unit vectors in clusters, some of them labeled, with a head's beliefs."""

from __future__ import annotations

from typing import Any

import numpy as np

from learning.selection import SelectionState


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def clustered(rng: np.random.Generator, n: int, d: int = 16, k: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """``n`` unit rows in ``k`` clusters, and their cluster."""
    centres = rng.standard_normal((k, d))
    y = rng.integers(k, size=n)
    return unit(centres[y] + 0.35 * rng.standard_normal((n, d))), y


def world(seed: int = 0, n: int = 300, labeled: int = 20, k: int = 6, **rest: Any) -> SelectionState:
    rng = np.random.default_rng(seed)
    x, y = clustered(rng, n, k=k)
    at = np.sort(rng.permutation(n)[:labeled])
    p = rng.dirichlet(np.full(k, 0.3), size=n).astype(np.float32)
    ids = rng.permutation(10 * n)[:n]
    return SelectionState.of(x, labeled_at=at, labels=y[at], ids=ids, **({"probabilities": p} | rest))


def split(state: SelectionState, parts: int) -> list[SelectionState]:
    """The pool in parts, item by item in turn."""
    return [
        SelectionState(
            state.pool[i::parts],
            state.ids[i::parts],
            state.labeled,
            state.labels,
            state.labeled_ids,
            available=None if state.available is None else state.available[i::parts],
            probabilities=state.probabilities[i::parts],
        )
        for i in range(parts)
    ]
