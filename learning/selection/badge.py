"""BADGE (Ash et al. 2020, arXiv:1906.03671): k-means++ over the gradients of the head's own guess.

The gradient of the last layer for the likeliest category is g = (p − 1[ŷ]) ⊗ x: long where the head is unsure, pointing
where it would move. ‖g − g'‖² needs no product space: it is |a|² + |a'|² − 2(a·a')(x·x') with a = p − 1[ŷ] and unit x.
Not greedy: each pick is drawn. Above ``exact_up_to`` open items it draws from a sample that is uniform.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from learning.selection.clusters import weighted_draw
from learning.selection.digest import digest_of
from learning.selection.picks import Picks, reasons_for
from learning.selection.state import Floats, Ints, SelectionState


@dataclass(frozen=True)
class Badge:
    exact_up_to: int = 50_000
    sample: int = 8_192

    def select(self, state: SelectionState, n: int, rng: np.random.Generator) -> Picks:
        at = state.open
        if len(at) > self.exact_up_to:
            unweighted = np.ones(len(state.pool), dtype=np.float32)
            at = digest_of(state, unweighted, self.sample, int(rng.integers(2**63))).positions
        at = at[np.argsort(state.ids[at], kind="stable")]
        chosen, distance = _draw(np.asarray(state.pool[at], dtype=np.float32), _steps(state, at), n, rng)
        return Picks(at[chosen], distance, reasons_for(state, at[chosen], "uncertain", distance))


def _steps(state: SelectionState, at: Ints) -> Floats:
    """p − 1[ŷ] per item; 1 for all while there is no head, which leaves k-means++ over the embeddings."""
    if state.probabilities is None:
        return np.ones((len(at), 1), dtype=np.float32)
    p = np.array(state.probabilities[at], dtype=np.float32)
    p[np.arange(len(p)), p.argmax(axis=1)] -= 1.0
    return p


def _draw(x: Floats, a: Floats, n: int, rng: np.random.Generator) -> tuple[Ints, np.ndarray]:
    square = np.einsum("ij,ij->i", a, a)
    distance = np.full(len(x), np.inf, dtype=np.float32)
    chosen: list[int] = []
    scores: list[float] = []
    while len(chosen) < min(n, len(x)):
        i = int(square.argmax()) if not chosen else weighted_draw(distance, rng)
        scores.append(float(square[i] if not chosen else distance[i]))
        chosen.append(i)
        new = square + square[i] - 2.0 * (a @ a[i]) * (x @ x[i])
        distance = np.minimum(distance, np.maximum(new, 0.0))
        distance[chosen] = 0.0
        if not distance.any():  # only copies of what is chosen are left: any of them will do
            distance = np.ones_like(distance)
            distance[chosen] = 0.0
    return np.array(chosen, dtype=np.int64), np.sqrt(np.array(scores))
