"""One queue from several purposes, each with its share of the places: pure, for the head of a queue or for all of it.

At every place stands the next item of the purpose that is furthest behind its share (stride scheduling), so that every beginning
of the queue respects the shares to within one item. An item that several purposes want counts for the one that places it; the
share of a purpose that has nothing left goes to the others in proportion to theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mixed:
    """``ids`` [n] in order, and the purpose that placed each."""

    ids: Ints
    purposes: list[str]


def mixed(orders: Mapping[str, Ints], shares: Mapping[str, float], n: int) -> Mixed:
    """The first ``n`` places (fewer where the orders hold fewer items). ``orders`` are ids, best first, by purpose; ``shares`` need
    not add up to 1. Raises ValueError for a negative share, or an order without one."""
    for purpose in orders:
        if not shares.get(purpose, -1.0) >= 0.0:
            raise ValueError(f"the share of {purpose} must be 0 or more")
    left = {purpose: list(reversed(order.tolist())) for purpose, order in orders.items() if shares[purpose] > 0}
    owed = dict.fromkeys(left, 0.0)
    placed: list[int] = []
    purposes: list[str] = []
    seen: set[int] = set()
    while len(placed) < n:
        _drop_seen(left, seen)
        living = [purpose for purpose, order in left.items() if order]
        if not living:
            break
        whole = sum(shares[purpose] for purpose in living)
        for purpose in living:
            owed[purpose] += shares[purpose] / whole
        first = max(living, key=lambda purpose: (owed[purpose], -living.index(purpose)))
        owed[first] -= 1.0
        placed.append(left[first].pop())
        seen.add(placed[-1])
        purposes.append(first)
    return Mixed(np.array(placed, dtype=np.int64), purposes)


def _drop_seen(left: Mapping[str, list[int]], seen: set[int]) -> None:
    for order in left.values():
        while order and order[-1] in seen:
            order.pop()


def counts(purposes: Sequence[str]) -> dict[str, int]:
    """Places by purpose."""
    return {purpose: purposes.count(purpose) for purpose in dict.fromkeys(purposes)}
