"""What people do, as votes: ratings, engagement above the usual, and asking again.

A signal is a direction in [0, 1] and an evidence weight. Implicit signals are worth less than a thumb: how much less is
a prior here (`SignalWeights`), meant to be replaced by what a project measures against its own thumbs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from learning.core.preference.evidence import Flags, Floats, Ints


@dataclass(frozen=True)
class SignalWeights:
    """Votes' worth of each signal."""

    thumb: float = 1.0
    rating: float = 1.0
    engagement: float = 0.2  # people click and stay for many reasons
    asked_again: float = 0.5


def from_ratings(rating: Floats, *, lowest: float, highest: float) -> Floats:
    """Ratings on a scale as votes in [0, 1]. Raises ValueError for a scale without width or a rating off it."""
    if not highest > lowest:
        raise ValueError("A rating scale needs a lowest and a higher highest value.")
    if np.any((rating < lowest) | (rating > highest)):
        raise ValueError(f"A rating lies between {lowest:g} and {highest:g}.")
    return np.asarray((rating - lowest) / (highest - lowest))


def from_engagement(score: Floats, cell: Ints, *, band: float = 0.25) -> tuple[Floats, Flags]:
    """Votes and which of them count: ([n], [n]), from implicit scores (click, dwell, scroll) against a baseline.

    The baseline is the median of the ``cell`` (position, channel, category: what decides engagement whatever the
    reply). Scores within ``band`` of it say nothing; nor does a cell of fewer than 20, which has no baseline yet.
    """
    baseline, usual = np.zeros(len(score)), np.bincount(cell)[cell] >= 20
    for one in np.unique(cell):
        baseline[cell == one] = np.median(score[cell == one])
    return (score > baseline).astype(np.float64), np.asarray(usual & (np.abs(score - baseline) > band))


def asked_again(
    customer: Ints, time: Floats, x: Floats, *, window: float = 86_400.0, same_meaning: float = 0.7
) -> Flags:
    """Inquiries [n] whose customer asks the same again within ``window`` seconds: a vote against the first reply.

    ``x`` [n, d] are unit vectors; two inquiries are the same from a cosine of ``same_meaning``. Only the customer's
    very next inquiry counts: what comes between is a conversation.
    """
    again = np.zeros(len(customer), dtype=bool)
    order = np.lexsort((time, customer))
    first, then = order[:-1], order[1:]
    follows = (customer[first] == customer[then]) & (time[then] - time[first] <= window)
    again[first] = follows & ((x[first] * x[then]).sum(axis=1) >= same_meaning)
    return again
