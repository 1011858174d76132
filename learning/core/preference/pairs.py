"""Comparisons for pairwise learners: a chosen and a rejected reply for one inquiry, with a weight.

Thumbs are votes on single replies. They become a comparison only where the inquiries mean the same: a reply praised on
one and another reply rejected on its neighbour in embedding space. What people were shown is not what they would choose
among, so each comparison is weighted by the inverse of both propensities, clipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from learning.core.preference.evidence import Floats, Ints, Votes
from learning.core.preference.neighbours import nearest

VERDICTS = ("a", "b", "tie", "neither")


@dataclass(frozen=True)
class Pairs:
    """Row i says that for ``inquiry[i]`` ``chosen[i]`` is better than ``rejected[i]``, with ``weight[i]`` ≥ 0."""

    inquiry: Ints
    chosen: Ints
    rejected: Ints
    weight: Floats

    def __len__(self) -> int:
        return len(self.inquiry)

    def __add__(self, other: Pairs) -> Pairs:
        """Both sets of comparisons."""
        return Pairs(
            np.concatenate([self.inquiry, other.inquiry]),
            np.concatenate([self.chosen, other.chosen]),
            np.concatenate([self.rejected, other.rejected]),
            np.concatenate([self.weight, other.weight]),
        )


@dataclass(frozen=True)
class PairConfig:
    """How votes become comparisons."""

    same_meaning: float = 0.6  # cosine from which two inquiries ask the same
    per_vote: int = 4  # comparisons of one praised reply: more say little new, and the nearest say most
    clip: float = 1.0  # an inverse propensity counts at most this many times the median one


def pairs_from_votes(votes: Votes, weights: Floats, pool: Floats, config: PairConfig | None = None) -> Pairs:
    """Praised against rejected replies on same-meaning inquiries of ``pool`` [inquiries, d].

    ``weights`` [n] are the votes' evidence weights. A vote is praise from ½ upwards; votes of weight 0 are left out.
    A comparison weighs √(product of both votes' weights and corrections), so that all of them together weigh about
    as much as the votes they come from.
    """
    config = config or PairConfig()
    praised = np.flatnonzero((votes.up >= 0.5) & (weights > 0))
    rejected = np.flatnonzero((votes.up < 0.5) & (weights > 0))
    if not len(praised) or not len(rejected):
        return _pairs([], [], [], [])
    found, cosine = nearest(
        pool[votes.inquiry[praised]], pool[votes.inquiry[rejected]], min(4 * config.per_vote, len(rejected))
    )
    up, down = np.repeat(praised, found.shape[1]), rejected[found.ravel()]
    valid = (cosine.ravel() >= config.same_meaning) & (votes.reply[up] != votes.reply[down])
    first = _first(valid.reshape(found.shape), config.per_vote).ravel()
    up, down = up[first], down[first]
    weight = np.sqrt(weights[up] * weights[down]) * _exposure(votes, up, down, config.clip)
    return Pairs(votes.inquiry[up], votes.reply[up], votes.reply[down], weight)


def pairs_from_comparisons(inquiry: Ints, a: Ints, b: Ints, verdict: list[str]) -> Pairs:
    """Annotators' A/B verdicts: "a", "b", "tie" (half a comparison each way) or "neither" (says nothing about a and b).

    Raises ValueError for any other verdict.
    """
    rows: list[tuple[int, int, int, float]] = []
    for i, left, right, word in zip(inquiry.tolist(), a.tolist(), b.tolist(), verdict, strict=True):
        if word not in VERDICTS:
            raise ValueError(f"A comparison ends with one of {', '.join(VERDICTS)}, not with {word!r}.")
        if word in ("a", "tie"):
            rows.append((i, left, right, 1.0 if word == "a" else 0.5))
        if word in ("b", "tie"):
            rows.append((i, right, left, 1.0 if word == "b" else 0.5))
    return _pairs([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], [r[3] for r in rows])


def pairs_from_replacements(inquiry: Ints, suggested: Ints, sent: Ints) -> Pairs:
    """An agent sent ``sent`` where ``suggested`` stood ready: chosen against rejected; unchanged replies say nothing."""
    changed = np.flatnonzero(suggested != sent)
    return Pairs(inquiry[changed], sent[changed], suggested[changed], np.ones(len(changed)))


def examination(shown: Ints, clicked: Ints) -> Floats:
    """Probability of being looked at per position, relative to the first: [positions], for *randomised* orders only.

    ``shown`` and ``clicked`` count displays and clicks per position; with replies in random order the click rates
    differ by examination alone (Joachims et al. 2017). Multiply a reply's propensity by it. One is added to each count.
    """
    rate = (clicked + 1) / (shown + 1)
    return np.asarray(np.clip(rate / rate[0], 1e-3, 1.0))


def _exposure(votes: Votes, up: Ints, down: Ints, clip: float) -> Floats:
    inverse = 1 / np.sqrt(votes.propensity[up] * votes.propensity[down])
    if not len(inverse):
        return inverse
    inverse = np.minimum(inverse, clip * np.median(inverse))
    return np.asarray(inverse / inverse.mean())


def _first(valid: np.ndarray, count: int) -> np.ndarray:
    return np.asarray(valid & (valid.cumsum(axis=1) <= count))


def _pairs(inquiry: list[int], chosen: list[int], rejected: list[int], weight: list[float]) -> Pairs:
    a, b, c = (np.asarray(column, dtype=np.int64) for column in (inquiry, chosen, rejected))
    return Pairs(a, b, c, np.asarray(weight, dtype=np.float64))
