"""What a strategy returns, and how ties are broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from learning.selection.reasons import Reason
from learning.selection.state import Ints, SelectionState


@dataclass(frozen=True)
class Picks:
    """Positions in the pool in the order of picking, their scores at that moment, and why.

    ``propensities`` is the chance of a random draw (audit slice), NaN for items that a strategy chose. ``exact`` counts
    the leading picks that are proven equal to the plain greedy ones (all of them, unless a shard bound was reached).
    """

    indices: Ints
    scores: npt.NDArray[np.float64]
    reasons: list[Reason]
    propensities: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    exact: int = -1

    def __post_init__(self) -> None:
        if not len(self.propensities):
            object.__setattr__(self, "propensities", np.full(len(self.indices), np.nan))
        if self.exact < 0:
            object.__setattr__(self, "exact", len(self.indices))

    def __len__(self) -> int:
        return len(self.indices)


class Strategy(Protocol):
    """A rule that picks ``n`` items to be labeled next. The same state and generator seed give the same picks."""

    def select(self, state: SelectionState, n: int, rng: np.random.Generator) -> Picks: ...


def best_first(scores: npt.NDArray[Any], ids: Ints, at: Ints, n: int) -> Ints:
    """The ``n`` positions of ``at`` with the largest ``scores`` [N], best first, ties by the smaller id."""
    values = np.asarray(scores, dtype=np.float64)[at]
    if n < len(at):
        floor = np.partition(values, len(values) - n)[len(values) - n]
        at, values = at[values >= floor], values[values >= floor]
    return at[np.lexsort((ids[at], -values))[:n]]


def reasons_for(
    state: SelectionState, at: Ints, kind: str, scores: Sequence[float] | npt.NDArray[Any], **each: Sequence[float]
) -> list[Reason]:
    """One reason for each position in ``at``; ``each`` gives further fields item by item."""
    splits = [top_two(state.probabilities, int(i)) for i in at]
    extra: list[dict[str, Any]] = [{key: float(values[i]) for key, values in each.items()} for i in range(len(at))]
    return [
        Reason(kind, split=split, score=float(score), **more)
        for split, score, more in zip(splits, scores, extra, strict=True)
    ]


def top_two(probabilities: npt.NDArray[Any] | None, at: int) -> tuple[tuple[int, float], ...]:
    if probabilities is None:
        return ()
    row = np.asarray(probabilities[at], dtype=np.float64)
    order = np.lexsort((np.arange(len(row)), -row))[:2]
    return tuple((int(c), float(row[c])) for c in order)
