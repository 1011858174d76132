"""Exact lazy greedy for scores that only fall as items are picked.

Plain greedy computes the score of every item anew after every pick. Where scores only fall (score + α·distance to the
nearest picked item; gains of a submodular coverage), a score from an earlier step is an upper bound (Minoux 1978). So
current scores are kept only for a small active set, and everything else waits behind the largest of its bounds. While
the best active item beats that bound, it is the best of all; otherwise the items with the largest bounds become active.
The picks are those of plain greedy, item by item, ties included: the larger score first, then the smaller id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from learning.selection.state import Floats, Ints, nearest_cosines

FIRST_ACTIVE = 256  # the active set doubles when it is exhausted, so this decides time, never picks


class Falling(Protocol):
    """A batch that is being built. Positions are those of the problem's own ``ids``."""

    ids: Ints

    def bounds(self) -> Floats:
        """Upper bounds of all scores [N]; −inf for items that must not be picked."""

    def activate(self, at: Ints) -> None:
        """Keep current scores for ``at`` from now on (appended in this order)."""

    def scores(self) -> Floats:
        """Current scores of the active items; −inf once picked."""

    def pick(self, active: int) -> None:
        """Add the active item number ``active`` to the batch."""


def lazy_greedy(
    problem: Falling, n: int, first: int = FIRST_ACTIVE, most: int | None = None
) -> tuple[Ints, npt.NDArray[np.float64], float]:
    """Positions [≤ n] and their scores when picked, and the largest bound that never became active.

    Equal to `plain_greedy`; fewer than ``n`` only where fewer items may be picked. With ``most`` no more items become active:
    only the picks whose score beats the bound that is returned are then proven to be those of `plain_greedy`.
    """
    waiting = _Waiting(problem.bounds())
    chosen: list[int] = []
    scores: list[float] = []
    active = np.empty(0, dtype=np.int64)
    while len(chosen) < n:
        best, value = _best(problem.scores(), problem.ids[active]) if len(active) else (-1, -np.inf)
        room = waiting.left if most is None else min(waiting.left, most - len(active))
        if value <= waiting.ceiling and room > 0:  # an equal bound may hide a smaller id
            fresh = waiting.release(min(max(first, len(active)), room))
            problem.activate(fresh)
            active = np.concatenate([active, fresh])
            continue
        if not np.isfinite(value):
            break
        chosen.append(int(active[best]))
        scores.append(float(value))
        problem.pick(best)
    return np.array(chosen, dtype=np.int64), np.array(scores), waiting.ceiling


def plain_greedy(problem: Falling, n: int) -> tuple[Ints, npt.NDArray[np.float64], float]:
    """The same by brute force: every item is active from the start. For tests and benchmarks."""
    return lazy_greedy(problem, n, first=len(problem.ids))


class _Waiting:
    """Items behind their bounds, released in chunks from the largest bound down."""

    def __init__(self, bounds: Floats) -> None:
        self._bounds = bounds
        self._at: npt.NDArray[np.intp] = np.flatnonzero(np.isfinite(bounds))
        self._ready: npt.NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self.ceiling = self._ceiling()

    @property
    def left(self) -> int:
        return len(self._at) + len(self._ready)

    def release(self, count: int) -> Ints:
        """The ``count`` largest bounds (or all that are left)."""
        if len(self._ready) < count:
            self._sort_some(max(8 * count, 4096))
        given, self._ready = self._ready[:count], self._ready[count:]
        self.ceiling = self._ceiling()
        return given.astype(np.int64)

    def _sort_some(self, count: int) -> None:
        """Move the largest ``count`` bounds from the unsorted rest to the sorted ready list."""
        values = self._bounds[self._at]
        if count < len(values):
            split = np.argpartition(-values, count)
            top, self._at = self._at[split[:count]], self._at[split[count:]]
        else:
            top, self._at = self._at, self._at[:0]
        top = top[np.argsort(-self._bounds[top], kind="stable")]
        self._ready = np.concatenate([self._ready, top])

    def _ceiling(self) -> float:
        if len(self._ready):
            return float(self._bounds[self._ready[0]])
        return float(self._bounds[self._at].max()) if len(self._at) else -np.inf


def _best(scores: Floats, ids: Ints) -> tuple[int, float]:
    value = scores.max()
    equal = np.flatnonzero(scores == value)
    at = equal[0] if len(equal) == 1 else equal[ids[equal].argmin()]
    return int(at), float(value)


class Distances:
    """score(i) = base_i + weight · f(cosine to the nearest covered or picked item), f falling in the cosine.

    ``nearest`` [N] are cosines that bound those to what is covered from below. With ``current`` they are the cosines
    themselves, from the cache; otherwise they are computed from ``covered`` [L, d] as items become active. ``base`` [N]
    is −inf for items that must not be picked. ``rows(at)`` gives embeddings as float32.
    """

    def __init__(
        self,
        rows: Callable[[Ints], Floats],
        ids: Ints,
        base: Floats,
        weight: float,
        distance: Callable[[Floats], Floats],
        *,
        covered: Floats,
        nearest: Floats,
        current: bool,
    ) -> None:
        self.ids, self._rows, self._base, self._weight, self._distance = ids, rows, base, weight, distance
        self._covered, self._nearest, self._current = covered, nearest, current
        self._x: Floats = np.empty((0, covered.shape[1]), dtype=np.float32)
        self._active: Ints = np.empty(0, dtype=np.int64)
        self.cosine: Floats = np.empty(0, dtype=np.float32)
        self._alive: npt.NDArray[np.bool_] = np.empty(0, dtype=bool)
        self._picked: list[Floats] = []

    def bounds(self) -> Floats:
        return np.asarray(self._base + np.float32(self._weight) * self._distance(self._nearest), dtype=np.float32)

    def activate(self, at: Ints) -> None:
        x = self._rows(at)
        cosine = self._nearest[at] if self._current else nearest_cosines(x, self._covered)
        for row in self._picked:
            cosine = np.maximum(cosine, _dots(x, row))
        self._x, self._active = np.concatenate([self._x, x]), np.concatenate([self._active, at])
        self.cosine = np.concatenate([self.cosine, cosine])
        self._alive = np.concatenate([self._alive, np.ones(len(at), dtype=bool)])

    def scores(self) -> Floats:
        value = self._base[self._active] + np.float32(self._weight) * self._distance(self.cosine)
        return np.where(self._alive, value, np.float32(-np.inf))

    def pick(self, active: int) -> None:
        row = self._x[active].copy()
        self._alive[active] = False
        self._picked.append(row)
        self.cosine = np.maximum(self.cosine, _dots(self._x, row))


def _dots(x: Floats, row: Floats) -> Floats:
    """x @ row with each result independent of the other rows of ``x``: BLAS sums in an order that depends on the shape,
    and the last bit would then depend on which items happen to be active."""
    return np.asarray(np.einsum("ij,j->i", x, row), dtype=np.float32)


class Coverage:
    """gain(i) = Σₓ u(x) · max(0, k(x, i) − covered(x)), the gain of a facility-location coverage.

    ``kernel(at)`` gives the rows k(·, i) [len(at), R] over the references, ``u`` [R] their weights, ``covered`` [R] the
    coverage so far (it is changed). ``start`` [N] are the gains before the first pick, −inf for items not to be picked.
    """

    def __init__(self, kernel: Callable[[Ints], Floats], ids: Ints, start: Floats, u: Floats, covered: Floats) -> None:
        self.ids, self._kernel, self._start, self._u, self.covered = ids, kernel, start, u, covered
        self._k: Floats = np.empty((0, len(u)), dtype=np.float32)
        self._gains: Floats = np.empty(0, dtype=np.float32)
        self._active: Ints = np.empty(0, dtype=np.int64)
        self._stale: npt.NDArray[np.bool_] = np.empty(0, dtype=bool)

    def bounds(self) -> Floats:
        return self._start

    def activate(self, at: Ints) -> None:
        self._k = np.concatenate([self._k, self._kernel(at)])
        self._gains = np.concatenate([self._gains, self._start[at]])
        self._active = np.concatenate([self._active, at])
        self._stale = np.concatenate([self._stale, np.ones(len(at), dtype=bool)])

    def scores(self) -> Floats:
        """Current for every item that could be the best; others keep an older, larger value below the best."""
        while True:
            best, value = _best(self._gains, self.ids[self._active])
            if not self._stale[best] or not np.isfinite(value):
                return self._gains
            self._gains[best], self._stale[best] = self._gain(best), False

    def pick(self, active: int) -> None:
        np.maximum(self.covered, self._k[active], out=self.covered)
        self._stale[:] = True
        self._gains[active] = -np.inf

    def _gain(self, active: int) -> Floats:
        return np.float32(self._u @ np.maximum(self._k[active] - self.covered, 0.0))  # type: ignore[return-value]
