"""What a strategy may look at: the unlabeled pool, what is labeled, what the head believes.

Everything is arrays; embeddings are unit rows of one encoder, float16 or float32, and may be memory-mapped: they are
read in blocks. Positions are positions in the pool; `ids` break ties, so the order of the pool does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
BLOCK = 16_384  # rows of a memory-mapped pool that are in memory at a time, as float32


def blocks(size: int, block: int = BLOCK) -> Iterator[slice]:
    for start in range(0, size, block):
        yield slice(start, min(start + block, size))


def positions(known: Ints, wanted: Ints) -> Ints:
    """Where each of ``wanted`` stands in ``known``; −1 where it does not."""
    if not len(known):
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(known, kind="stable")
    at = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)]
    return np.where(known[at] == wanted, at, -1).astype(np.int64)


def products(x: Floats, y: Floats, rows: int = 64) -> Floats:
    """x @ y.T [n, m], where no row of the result depends on the other rows of ``x``.

    BLAS adds up in an order that depends on the shapes, so the last bit of a cosine would depend on which other items
    are looked at in the same call, and ties would be broken by that. Blocks of one shape leave nothing to depend on.
    """
    result = np.empty((len(x), len(y)), dtype=np.float32)
    whole = len(x) - len(x) % rows
    for part in blocks(whole, rows):
        np.matmul(x[part], y.T, out=result[part])
    if whole < len(x):
        padded = np.zeros((rows, x.shape[1]), dtype=np.float32)
        padded[: len(x) - whole] = x[whole:]
        result[whole:] = (padded @ y.T)[: len(x) - whole]
    return result


def rows_of(pool: npt.NDArray[Any], at: npt.NDArray[Any] | slice) -> Floats:
    """Rows of the pool as float32."""
    return np.asarray(pool[at], dtype=np.float32)


def nearest_cosines(x: Floats, covered: Floats) -> Floats:
    """Cosine of each row of ``x`` to the nearest row of ``covered``; −1 where there is none."""
    if not len(covered):
        return np.full(len(x), -1.0, dtype=np.float32)
    return np.asarray(products(x, covered).max(axis=1), dtype=np.float32)


class NearestCache:
    """For each pool item the cosine of its nearest covered item, kept between batches.

    Adding m covered items costs one product of the pool with m rows. Withdrawing some costs a recomputation only for
    the pool items whose nearest item was withdrawn. Items that join or leave the pool cost their own rows only.
    """

    def __init__(self) -> None:
        self._ids: Ints = np.empty(0, dtype=np.int64)
        self._covered: Ints = np.empty(0, dtype=np.int64)
        self._similarity: Floats = np.empty(0, dtype=np.float32)
        self._owner: Ints = np.empty(0, dtype=np.int64)

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> NearestCache:
        """What `arrays` gave. Raises KeyError or ValueError for anything else."""
        cache = cls()
        cache._ids, cache._covered, cache._owner = (arrays[k].astype(np.int64) for k in ("ids", "covered", "owner"))
        cache._similarity = arrays["similarity"].astype(np.float32)
        if not len(cache._ids) == len(cache._owner) == len(cache._similarity):
            raise ValueError("the arrays of the cache do not fit together")
        return cache

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What the cache knows, to be kept: ids and cosines, no vectors."""
        return {"ids": self._ids, "covered": self._covered, "owner": self._owner, "similarity": self._similarity}

    def behind(self, state: SelectionState) -> int:
        """How many covered items the next `similarities` has to take in; what it costs grows with it."""
        return int((~np.isin(state.labeled_ids, self._covered)).sum()) if len(self._ids) else len(state.labeled_ids)

    def similarities(self, state: SelectionState) -> Floats:
        """Cosine of each pool item to its nearest covered item [N]; −1 where nothing is covered yet."""
        fresh = self._align(state)
        known = np.isin(state.labeled_ids, self._covered)
        gone = ~np.isin(self._owner, state.labeled_ids) & (self._owner >= 0)
        self._similarity[gone], self._owner[gone] = -1.0, -1
        whole = np.flatnonzero(gone | fresh)
        self._take(state, whole, np.flatnonzero(known))
        self._take(state, None, np.flatnonzero(~known))
        self._covered = state.labeled_ids.copy()
        return self._similarity

    def _align(self, state: SelectionState) -> npt.NDArray[np.bool_]:
        """Carry what is known over to the pool as it is now; True for items that are new to it."""
        if np.array_equal(self._ids, state.ids):
            return np.zeros(len(state.ids), dtype=bool)
        source = positions(self._ids, state.ids)
        fresh = source < 0
        similarity, owner = np.full(len(source), -1.0, dtype=np.float32), np.full(len(source), -1, dtype=np.int64)
        similarity[~fresh], owner[~fresh] = self._similarity[source[~fresh]], self._owner[source[~fresh]]
        self._ids, self._similarity, self._owner = state.ids.copy(), similarity, owner
        return fresh

    def _take(self, state: SelectionState, rows: Ints | None, columns: npt.NDArray[np.intp]) -> None:
        """Let the covered items ``columns`` bid for the pool items ``rows`` (None: all)."""
        size = len(state.ids) if rows is None else len(rows)
        if not size or not len(columns):
            return
        covered, names = np.asarray(state.labeled[columns], dtype=np.float32), state.labeled_ids[columns]
        for part in blocks(size):
            at: Any = part if rows is None else rows[part]
            products = rows_of(state.pool, at) @ covered.T
            best = products.argmax(axis=1)
            value = products[np.arange(len(best)), best]
            better = value > self._similarity[at]
            self._similarity[at] = np.where(better, value, self._similarity[at])
            self._owner[at] = np.where(better, names[best], self._owner[at])


@dataclass(frozen=True)
class SelectionState:
    """One project's pool at one moment.

    ``pool`` [N, d] unit rows and ``ids`` [N] (unique, ≥ 0). ``labeled`` [L, d], ``labels`` [L] and ``labeled_ids`` [L]
    are what is covered: labels, and items that are picked but not answered yet (label −1). ``available`` [N] is False
    for pool items that must not be picked (labeled, open, not in the train fold). ``probabilities`` [N, C] are the
    head's beliefs about the pool, None before any head; ``uncertainty`` may carry measures [N] of them (margin …) that
    were computed while the pool was scored, so that a large pool's probabilities need not be kept. ``prototypes``
    [C, d] are the categories' own texts, None where they say nothing. Raises ValueError where shapes do not fit.
    """

    pool: npt.NDArray[Any]
    ids: Ints
    labeled: npt.NDArray[Any]
    labels: Ints
    labeled_ids: Ints
    available: npt.NDArray[np.bool_] | None = None
    probabilities: npt.NDArray[Any] | None = None
    prototypes: npt.NDArray[Any] | None = None
    uncertainty: Mapping[str, Floats] | None = None
    cache: NearestCache = field(default_factory=NearestCache)

    def __post_init__(self) -> None:
        n, covered = len(self.pool), len(self.labeled)
        if self.ids.shape != (n,) or self.labels.shape != (covered,) or self.labeled_ids.shape != (covered,):
            raise ValueError(f"{n} pool rows and {covered} labeled rows need as many ids and labels")
        if covered and self.labeled.shape[1] != self.pool.shape[1]:
            raise ValueError("pool and labeled items come from different encoders")
        for what in (self.available, self.probabilities):
            if what is not None and len(what) != n:
                raise ValueError(f"{len(what)} rows do not fit a pool of {n}")

    @classmethod
    def of(
        cls,
        pool: npt.NDArray[Any],
        *,
        labeled_at: npt.ArrayLike = (),
        labels: npt.ArrayLike = (),
        ids: npt.ArrayLike | None = None,
        **rest: Any,
    ) -> SelectionState:
        """A state whose labeled items are rows of the pool itself (positions ``labeled_at``)."""
        at = np.asarray(labeled_at, dtype=np.int64)
        keys = np.arange(len(pool), dtype=np.int64) if ids is None else np.asarray(ids, dtype=np.int64)
        available = rest.pop("available", None)
        available = np.ones(len(pool), dtype=bool) if available is None else available.copy()
        available[at] = False
        return cls(
            pool, keys, rows_of(pool, at), np.asarray(labels, dtype=np.int64), keys[at], available=available, **rest
        )

    @property
    def open(self) -> Ints:
        """Positions that may be picked."""
        if self.available is None:
            return np.arange(len(self.pool), dtype=np.int64)
        return np.flatnonzero(self.available).astype(np.int64)

    def nearest(self) -> Floats:
        """Cosine of each pool item to the nearest covered item [N] (−1: none), from the cache."""
        return self.cache.similarities(self)

    def nearest_at(self, at: Ints) -> Floats:
        """The same for the positions ``at`` only, without the cache when filling it would cost more."""
        if len(at) >= len(self.pool) or self.cache.behind(self) * len(self.pool) <= len(self.labeled) * len(at):
            return self.nearest()[at]
        return nearest_cosines(rows_of(self.pool, at), np.asarray(self.labeled, dtype=np.float32))
