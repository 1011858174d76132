"""Selection over a pool in shards: each shard returns its top candidates with their embeddings, one reducer picks.

Distance strategies (MSAL, k-center). A shard sends the ``keep`` items with the largest score before the first pick, and
the largest score among those that it kept back. Scores only fall, so as long as the reducer's pick beats every kept-back
score, no item anywhere could have been better: `Picks.exact` counts these picks. Send more where it falls short.

Herding. A shard sends the digest of its part: the items with the smallest draw keys. Keys depend on (seed, id) alone, so
the merged digest is the digest of the whole pool, and the picks are those of one machine, all of them. (A pool below
``exact_up_to`` needs no shards.)

Shards and their results are arrays and plain numbers: `numpy.savez` carries them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from learning.selection.digest import Digest, digest_of, merged
from learning.selection.greedy import Distances, lazy_greedy
from learning.selection.herding import Herding, bandwidth_of, cover
from learning.selection.msal import half_distance
from learning.selection.picks import best_first
from learning.selection.state import Floats, Ints, SelectionState, rows_of
from learning.selection.uncertainty import uncertainties

KEEP = 8  # candidates per shard and pick


@dataclass(frozen=True)
class Candidates:
    """A shard's top candidates: ``x`` [m, d], ``ids``, uncertainty ``base``, ``nearest`` cosine to what is covered, and
    the largest score ``bound`` of the items that stayed behind (−inf: none did)."""

    x: Floats
    ids: Ints
    base: Floats
    nearest: Floats
    bound: float


@dataclass(frozen=True)
class Reduced:
    """Ids picked, in order, their scores, and how many of them are proven to be those of one machine."""

    ids: Ints
    scores: np.ndarray
    exact: int


def shard_candidates(
    state: SelectionState, n: int, *, alpha: float = 0.5, measure: str = "entropy", unsure: Floats | None = None
) -> Candidates:
    """The part of one shard in a batch of ``n`` by U + α·D; ``unsure`` [N] stands for the measure (k-center: zeros)."""
    unsure = uncertainties(state, measure) if unsure is None else unsure
    nearest, at = state.nearest(), state.open
    score = unsure + np.float32(alpha) * half_distance(nearest)
    chosen = best_first(score, state.ids, at, KEEP * n)
    behind = np.setdiff1d(at, chosen, assume_unique=True)
    bound = float(score[behind].max()) if len(behind) else -np.inf
    return Candidates(rows_of(state.pool, chosen), state.ids[chosen], unsure[chosen], nearest[chosen], bound)


def reduce_candidates(shards: Sequence[Candidates], n: int, *, alpha: float = 0.5) -> Reduced:
    """Greedy over the candidates of all shards."""
    x, ids = np.concatenate([s.x for s in shards]), np.concatenate([s.ids for s in shards])
    problem = Distances(
        lambda at: x[at],
        ids,
        np.concatenate([s.base for s in shards]),
        alpha,
        half_distance,
        covered=np.zeros((0, x.shape[1]), dtype=np.float32),
        nearest=np.concatenate([s.nearest for s in shards]),
        current=True,
    )
    chosen, scores, _ = lazy_greedy(problem, n)
    beaten = scores > max(s.bound for s in shards)
    return Reduced(ids[chosen], scores, len(scores) if beaten.all() else int(beaten.argmin()))


def shard_digest(state: SelectionState, strategy: Herding, seed: int) -> Digest:
    """The part of one shard in a batch by uncertainty herding; every shard gets the same ``seed``."""
    return digest_of(state, uncertainties(state, strategy.measure), strategy.sample, seed, drawn=True)


def reduce_digests(shards: Sequence[Digest], strategy: Herding, n: int, labeled: Floats) -> Reduced:
    """Cover the merged digest; ``labeled`` [L, d] is what is covered already."""
    digest = merged(shards, strategy.sample)
    chosen, gains = cover(digest, n, bandwidth_of(labeled, digest, n))
    return Reduced(digest.ids[chosen], gains, len(chosen))
