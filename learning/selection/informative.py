"""The strategies that look at one item at a time: chance, and the head's uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from learning.selection.picks import Picks, best_first, reasons_for
from learning.selection.state import SelectionState
from learning.selection.uncertainty import measure, uncertainties


@dataclass(frozen=True)
class Uniform:
    """Every open item is as likely as any other; the baseline that any strategy has to beat."""

    def select(self, state: SelectionState, n: int, rng: np.random.Generator) -> Picks:
        at = state.open[np.argsort(state.ids[state.open], kind="stable")]
        chosen = rng.permutation(at)[:n]
        share = len(chosen) / max(len(at), 1)
        reasons = reasons_for(state, chosen, "random", np.zeros(len(chosen)), propensity=[share] * len(chosen))
        return Picks(chosen, np.zeros(len(chosen)), reasons, np.full(len(chosen), share))


@dataclass(frozen=True)
class Uncertain:
    """The most uncertain items by ``measure``: least_confidence, margin or entropy. Without a head: chance."""

    measure: str = "margin"

    def __post_init__(self) -> None:
        measure(self.measure)

    def select(self, state: SelectionState, n: int, rng: np.random.Generator) -> Picks:
        if state.probabilities is None and state.uncertainty is None:
            return Uniform().select(state, n, rng)
        scores = uncertainties(state, self.measure)
        chosen = best_first(scores, state.ids, state.open, n)
        return Picks(chosen, scores[chosen].astype(np.float64), reasons_for(state, chosen, "uncertain", scores[chosen]))
