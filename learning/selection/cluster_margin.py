"""Cluster-margin (Citovsky et al. 2021, arXiv:2107.14263): unsure items, but of different kinds.

The ``factor``·n items with the smallest margin are joined by average linkage and cut into n clusters; one is taken from
each cluster in turn, small clusters first, the smallest margin first. Here the clustering covers the candidates of the
batch, not the whole pool once, so it costs (factor·n)² and not N². Without a head: TypiClust.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from learning.selection.picks import Picks, best_first, reasons_for
from learning.selection.state import Floats, Ints, SelectionState, rows_of
from learning.selection.typiclust import TypiClust
from learning.selection.uncertainty import uncertainties


@dataclass(frozen=True)
class ClusterMargin:
    factor: int = 10  # as in the paper

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ValueError("factor must be at least 1")

    def select(self, state: SelectionState, n: int, rng: np.random.Generator) -> Picks:
        if state.probabilities is None and state.uncertainty is None:
            return TypiClust().select(state, n, rng)
        unsure = uncertainties(state, "margin")
        at = best_first(unsure, state.ids, state.open, self.factor * n)
        chosen = at[_round_robin(average_linkage(rows_of(state.pool, at), n), n)]
        return Picks(chosen, unsure[chosen].astype(np.float64), reasons_for(state, chosen, "uncertain", unsure[chosen]))


def average_linkage(x: Floats, clusters: int) -> Ints:
    """Cluster of each row of ``x`` [m, d]: average linkage of cosine distances, cut into at most ``clusters``."""
    if len(x) <= clusters:
        return np.arange(len(x), dtype=np.int64)
    distance = np.maximum(1.0 - x @ x.T, 0.0).astype(np.float64)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform((distance + distance.T) / 2.0, checks=False), method="average")
    return np.asarray(fcluster(tree, clusters, criterion="maxclust"), dtype=np.int64)


def _round_robin(cluster: Ints, n: int) -> Ints:
    """Positions by turns over the clusters, small clusters first; within one in the given order."""
    _, cluster, size = np.unique(cluster, return_inverse=True, return_counts=True)
    turn = np.empty(len(cluster), dtype=np.int64)
    for c in range(len(size)):
        members = np.flatnonzero(cluster == c)
        turn[members] = np.arange(len(members))
    return np.lexsort((np.arange(len(cluster)), size[cluster], turn))[:n].astype(np.int64)
