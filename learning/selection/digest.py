"""The part of a pool that a quadratic strategy looks at: all of a small one, a keyed sample of a large one.

Items are drawn without replacement with chances proportional to their uncertainty, by exponential keys −log(u)/w
(Efraimidis & Spirakis 2006) whose u comes from a hash of (seed, id). The draw of an item does not depend on the others,
so the sample of a pool in shards is the smallest keys of the shards' samples: exactly that of the pool in one piece.
As references the drawn items count alike: the drawing has weighed them already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learning.selection.state import Floats, Ints, SelectionState, rows_of

LEAST = 1e-6  # of the weight: an item of which the head is sure can still be drawn


@dataclass(frozen=True)
class Digest:
    """``positions`` [m] in the pool, ``x`` [m, d], ``ids``, ``nearest`` cosines to what is covered, ``open`` (may be
    picked), ``weight`` as a reference, ``key`` of the draw, ``total`` items that it stands for."""

    positions: Ints
    ids: Ints
    x: Floats
    nearest: Floats
    open: npt.NDArray[np.bool_]
    weight: Floats
    key: npt.NDArray[np.float64]
    total: int

    def crowd(self, chosen: Ints) -> list[float]:
        """How many pool items are nearer to each chosen one than to the other chosen ones or to anything covered."""
        if not len(chosen):
            return []
        cosine = self.x @ self.x[chosen].T
        owner = cosine.argmax(axis=1)
        mine = cosine[np.arange(len(owner)), owner] > self.nearest
        return list(np.bincount(owner[mine], minlength=len(chosen)) * (self.total / len(self.x)))


def digest_of(state: SelectionState, unsure: Floats, size: int, seed: int, *, drawn: bool = False) -> Digest:
    """The whole pool when ``size`` reaches it, otherwise ``size`` open items drawn by ``unsure`` [N].

    A shard's part has to be ``drawn`` however small it is, since the shards together are not.
    """
    if size >= len(state.pool) and not drawn:
        everything = np.arange(len(state.pool), dtype=np.int64)
        return _digest(state, everything, unsure, np.zeros(len(everything)))
    at = state.open
    key = draw_keys(state.ids[at], unsure[at], seed)
    first = np.argpartition(key, size)[:size] if size < len(key) else np.arange(len(key))
    first = first[np.lexsort((state.ids[at][first], key[first]))]
    return _digest(state, at[first], np.ones(len(state.pool), dtype=np.float32), key[first])


def merged(parts: Sequence[Digest], size: int) -> Digest:
    """The digest of a pool from those of its shards; ``positions`` become −1 (ids are what counts)."""
    ids = np.concatenate([p.ids for p in parts])
    key = np.concatenate([p.key for p in parts])
    keep = np.lexsort((ids, key))[:size]
    return Digest(
        np.full(len(keep), -1, dtype=np.int64),
        ids[keep],
        np.concatenate([p.x for p in parts])[keep],
        np.concatenate([p.nearest for p in parts])[keep],
        np.concatenate([p.open for p in parts])[keep],
        np.concatenate([p.weight for p in parts])[keep],
        key[keep],
        sum(p.total for p in parts),
    )


def draw_keys(ids: Ints, weight: Floats, seed: int) -> npt.NDArray[np.float64]:
    """Exponential keys: the smallest k of them are a draw of k items with chances proportional to ``weight``."""
    return np.asarray(-np.log(uniforms(ids, seed)) / np.maximum(weight.astype(np.float64), LEAST))


def uniforms(ids: Ints, seed: int) -> npt.NDArray[np.float64]:
    """One number in (0, 1) per id, the same wherever the id is looked at (SplitMix64 of seed and id)."""
    with np.errstate(over="ignore"):
        z = ids.astype(np.uint64) + np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        z = z ^ (z >> np.uint64(31))
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def _digest(state: SelectionState, at: Ints, weight: Floats, key: npt.NDArray[np.float64]) -> Digest:
    available = np.ones(len(at), dtype=bool) if state.available is None else state.available[at]
    return Digest(
        at, state.ids[at], rows_of(state.pool, at), state.nearest_at(at), available, weight[at], key, len(state.open)
    )
