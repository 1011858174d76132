"""Which single votes and voters to believe, from the votes alone.

Two filters are kept by name for comparison: the neighbour filter (τ) and the two-type likelihood ratio. What is used by
default is the mixture of `campaigns`, which contains the second one.
"""

from __future__ import annotations

import numpy as np

from learning.core.preference.evidence import Floats, Ints, Votes
from learning.core.preference.neighbours import nearest


def log_bernoulli(up: Floats, p: Floats) -> Floats:
    """up·log p + (1 − up)·log(1 − p), p kept away from 0 and 1 by 1 %: a vote is never proof of anything."""
    p = np.clip(p, 0.01, 0.99)
    return np.asarray(up * np.log(p) + (1 - up) * np.log1p(-p))


def neighbour_filter(votes: Votes, pool: Floats, *, tau: float = 0.5, k: int = 10) -> Floats:
    """Weight 1 where |vote − mean of its neighbours' votes| < τ, else 0: [n] (the filter that RLUF is quoted with).

    Neighbours are the ``k`` votes on the same reply whose inquiries are nearest; a vote without any is kept. It sees
    one vote at a time, so it cannot tell a hostile vote from an honest one that disagrees.
    """
    weights = np.ones(len(votes))
    for reply in np.unique(votes.reply):
        rows = np.flatnonzero(votes.reply == reply)
        if len(rows) < 2:
            continue
        x = pool[votes.inquiry[rows]]
        found, _ = nearest(x, x, k + 1)
        other = found != np.arange(len(rows))[:, None]
        other &= other.cumsum(axis=1) <= k
        means = (votes.up[rows][found] * other).sum(axis=1) / other.sum(axis=1)
        weights[rows] = np.abs(votes.up[rows] - means) < tau
    return weights


def likelihood_ratio(votes: Votes, approval: Floats, *, prior: float = 0.1, iterations: int = 20) -> Floats:
    """P(honest) per voter [voters]: Dawid & Skene (1979) with two types, honest and inverted.

    ``approval`` [n] is P(up) of each vote were its voter honest. An inverted voter says up with 1 − that. ``prior`` is
    the share of inverted voters to begin with; EM refits it, holding on to it with the weight of twenty voters.
    """
    evidence = total(votes.voter, log_bernoulli(votes.up, approval) - log_bernoulli(votes.up, 1 - approval))
    inverted = prior
    posterior = np.full(len(evidence), 1 - prior)
    for _ in range(iterations):
        posterior = 1 / (1 + np.exp(np.clip(-evidence + np.log(inverted) - np.log1p(-inverted), -500, 500)))
        inverted = float(((1 - posterior).sum() + 20 * prior) / (len(posterior) + 20))
    return np.asarray(posterior)


def total(groups: Ints, values: Floats) -> Floats:
    """Sum of ``values`` [n] per group id: [groups]."""
    return np.asarray(np.bincount(groups, weights=values), dtype=np.float64)
