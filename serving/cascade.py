"""The cascade at serving: a fast step answers what it is sure of, the encoder that it was distilled from takes the rest. Pure.

The fast step keeps a text only where it would answer it by itself. Whatever would take a person's time (unsure, angry, of
high risk) goes up first, and so does what it does not know: a text with too many n-grams that were not seen in distillation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.encoder.static import StaticEncoder
from serving.routing import Policy

Floats = NDArray[np.floating]
# A tone this near to the anger threshold is for the slow step to judge.
ANGER_DOUBT = 0.25


@dataclass(frozen=True)
class Step:
    """The fast step before one encoder: its own encoder, the versions of both heads, and when it hands a text on."""

    encoder: StaticEncoder
    fast: int
    slow: int
    least_sure: float
    least_known: float


def sureness(p: Floats) -> Floats:
    """log(p₁/p₂) of the two largest of each row's probabilities [n]; infinite where the second is zero."""
    two = np.partition(p, -2, axis=1)[:, -2:]
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(two[:, 1]) - np.log(two[:, 0]))


def goes_up(
    step: Step, policy: Policy, p: Floats, *, known: Floats, tones: Floats, risky: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which texts the fast step hands on [n], by its probabilities ``p`` [n, C] and what else it knows of each.

    ``known`` is the share of known n-grams, ``tones`` the sentiment, ``risky`` [C] says which categories are of high risk.
    """
    if p.shape[1] < 2:
        return np.ones(len(p), dtype=bool)
    return np.asarray(
        (sureness(p) < step.least_sure)
        | (p.max(axis=1) < policy.confidence_threshold)
        | (known < step.least_known)
        | (tones < policy.anger_threshold + ANGER_DOUBT)
        | risky[p.argmax(axis=1)]
    )


def one_goes_up(
    step: Step, policy: Policy, p: Sequence[float], *, known: float, tone: float, risky: NDArray[np.bool_]
) -> bool:
    """`goes_up` for one text, whose probabilities ``p`` [C] are plain numbers: most requests bring one, and arrays of one
    row cost more than what is computed with them.
    """
    if len(p) < 2:
        return True
    best = max(p)
    at = p.index(best)
    second = max(max(p[:at], default=0.0), max(p[at + 1 :], default=0.0))
    return (
        (second > 0 and math.log(best / second) < step.least_sure)
        or best < policy.confidence_threshold
        or known < step.least_known
        or tone < policy.anger_threshold + ANGER_DOUBT
        or bool(risky[at])
    )
