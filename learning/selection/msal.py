"""Uncertainty plus distance, picked greedily: the MSAL formula, and farthest-first as its limit.

    argmax over x of U(x) + α·D(x; L ∪ S)

with U an uncertainty in [0, 1] and D half the Euclidean distance of unit rows to the nearest labeled (L) or already
picked (S) item, so also in [0, 1]. This is the formula as commonly quoted from arXiv:2411.17444; what that paper itself
proposes is in learning/selection/equiangular.py. D can only fall as S grows: the lazy greedy is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from learning.selection.greedy import Distances, lazy_greedy
from learning.selection.picks import Picks, reasons_for
from learning.selection.state import Floats, Ints, SelectionState, blocks, rows_of
from learning.selection.uncertainty import measure, uncertainties

AFFORDABLE = 256  # covered items that the cache takes in at once; with more, distances are computed for candidates only
LANDMARKS = 32  # covered items whose distances bound the others': enough to keep most of the pool out of the active set
SLACK = 1e-6  # of a cosine: the bound and the exact value come from products of different shapes


def half_distance(cosine: Floats) -> Floats:
    """‖x − y‖ / 2 of unit vectors with this cosine, in [0, 1]."""
    return np.asarray(np.sqrt(np.maximum((1.0 - cosine) / 2.0, 0.0)), dtype=np.float32)


@dataclass(frozen=True)
class Msal:
    """U + α·D; ``measure`` names U. Raises ValueError for a negative ``alpha``."""

    alpha: float = 0.5
    measure: str = "entropy"

    def __post_init__(self) -> None:
        measure(self.measure)
        if not self.alpha >= 0:
            raise ValueError("alpha must not be negative")

    def select(self, state: SelectionState, n: int, rng: np.random.Generator) -> Picks:
        return far_and_unsure(state, n, uncertainties(state, self.measure), self.alpha, "uncertain")


@dataclass(frozen=True)
class KCenter:
    """Farthest first (Sener & Savarese 2018, greedy core-set): the item farthest from everything covered or picked."""

    def select(self, state: SelectionState, n: int, rng: np.random.Generator) -> Picks:
        return far_and_unsure(state, n, np.zeros(len(state.pool), dtype=np.float32), 1.0, "far")


def far_and_unsure(state: SelectionState, n: int, unsure: Floats, alpha: float, kind: str) -> Picks:
    problem = distance_problem(state, unsure, alpha)
    chosen, scores, _ = lazy_greedy(problem, n)
    cosines = [1.0 - d for d in distances(state, chosen)]
    return Picks(chosen, scores, reasons_for(state, chosen, kind, scores, distance=[1.0 - c for c in cosines]))


def distance_problem(state: SelectionState, unsure: Floats, alpha: float) -> Distances:
    """The greedy problem over the open items of the pool."""
    base = np.full(len(state.pool), -np.inf, dtype=np.float32)
    base[state.open] = unsure[state.open]
    covered = np.asarray(state.labeled, dtype=np.float32)
    current = state.cache.behind(state) <= AFFORDABLE
    return Distances(
        lambda at: rows_of(state.pool, at),
        state.ids,
        base,
        alpha,
        half_distance,
        covered=covered,
        nearest=state.nearest() if current else _at_least(state, covered),
        current=current,
    )


def _at_least(state: SelectionState, covered: Floats) -> Floats:
    """Lower bounds of the cosines to the nearest covered item [N]: those to a few of them."""
    some = covered[np.linspace(0, len(covered) - 1, num=min(LANDMARKS, len(covered)), dtype=np.int64)]
    cosines = np.full(len(state.pool), -1.0, dtype=np.float32)
    for part in blocks(len(cosines)):
        cosines[part] = (rows_of(state.pool, part) @ some.T).max(axis=1, initial=-1.0) - SLACK
    return cosines


def distances(state: SelectionState, chosen: Ints) -> list[float]:
    """Cosine distance of each pick to the nearest covered item or earlier pick; 2 where there is none."""
    x = rows_of(state.pool, chosen)
    covered = np.concatenate([np.asarray(state.labeled, dtype=np.float32), x])
    cosine = x @ covered.T
    later = np.arange(len(covered))[None, :] >= len(state.labeled) + np.arange(len(x))[:, None]
    return [float(1.0 - c) for c in np.where(later, -1.0, cosine).max(axis=1, initial=-1.0)]
