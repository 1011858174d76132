"""TypiClust (Hacohen, Dekel & Weinshall 2022, arXiv:2202.02794): the most typical item of each group without a label.

The pool is grouped into as many groups as there will be labels; groups without a label come first, larger ones before
smaller ones; from each the item with the smallest mean distance to its 20 nearest neighbours in the group is taken.
Looks at no head at all, so it suits the first labels. Large pools are grouped on a sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from learning.selection.clusters import nearest_centre, spherical_kmeans
from learning.selection.digest import Digest, digest_of
from learning.selection.picks import Picks, reasons_for
from learning.selection.state import Floats, Ints, SelectionState

NEIGHBOURS = 20  # as in the paper
MOST_GROUPS = 500  # as in the paper: smaller groups than that many make have no typical item


@dataclass(frozen=True)
class TypiClust:
    exact_up_to: int = 50_000
    sample: int = 8_192

    def select(self, state: SelectionState, n: int, rng: np.random.Generator) -> Picks:
        size = len(state.pool) if len(state.open) <= self.exact_up_to else self.sample
        unweighted = np.ones(len(state.pool), dtype=np.float32)
        digest = digest_of(state, unweighted, size, int(rng.integers(2**63)))
        groups, centres = spherical_kmeans(digest.x, min(len(state.labeled) + n, MOST_GROUPS), rng)
        covered = np.asarray(state.labeled, dtype=np.float32)
        labeled = np.bincount(nearest_centre(covered, centres), minlength=len(centres))
        chosen, typicality = _by_turns(digest, groups, labeled, n)
        at = digest.positions[chosen]
        sizes = np.bincount(groups, minlength=len(centres))[groups[chosen]] * (digest.total / len(digest.x))
        return Picks(at, typicality, reasons_for(state, at, "typical", typicality, similar=list(sizes)))


def _by_turns(digest: Digest, groups: Ints, labeled: Ints, n: int) -> tuple[Ints, np.ndarray]:
    """From the group with the fewest labels (the largest first) the most typical open item, ``n`` times."""
    ranked: dict[int, list[tuple[float, int]]] = {}
    size = np.bincount(groups, minlength=len(labeled))
    for group in range(len(labeled)):
        members = np.flatnonzero(groups == group)
        typical = typicality(digest.x[members])
        order = np.lexsort((digest.ids[members], -typical))
        ranked[group] = [(float(typical[i]), int(members[i])) for i in order if digest.open[members[i]]]
    taken = labeled.astype(np.int64)
    chosen: list[tuple[float, int]] = []
    while len(chosen) < n and any(ranked.values()):
        group = min((g for g in ranked if ranked[g]), key=lambda g: (taken[g], -size[g], g))
        chosen.append(ranked[group].pop(0))
        taken[group] += 1
    return np.array([at for _, at in chosen], dtype=np.int64), np.array([value for value, _ in chosen])


def typicality(x: Floats) -> Floats:
    """1 / mean distance to the nearest 20 others in ``x`` [n, d] (fewer where there are fewer)."""
    if len(x) < 2:
        return np.zeros(len(x), dtype=np.float32)
    cosine = x @ x.T
    np.fill_diagonal(cosine, -1.0)
    k = min(NEIGHBOURS, len(x) - 1)
    near = np.partition(cosine, len(x) - k, axis=1)[:, -k:]
    distance = np.sqrt(np.maximum(2.0 - 2.0 * near, 0.0)).mean(axis=1)
    return np.asarray(1.0 / np.maximum(distance, 1e-6), dtype=np.float32)
