"""A small synthetic world: clusters of inquiries, two replies per category, honest and hostile voters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from learning.core.preference.evidence import Replies, Votes, numbered
from learning.core.preference.learners import Evidence
from learning.core.preference.policy import ReplyPolicy, draw

CATEGORIES, DIMENSION = 6, 24


@dataclass(frozen=True)
class Town:
    """``utility`` [inquiries, replies] is the truth; ``hostile`` [n] says which votes were."""

    evidence: Evidence
    labels: np.ndarray
    utility: np.ndarray
    hostile: np.ndarray

    def regret(self, policy: ReplyPolicy) -> float:
        """Mean utility lost by sending the policy's best reply."""
        chosen = policy.scores(self.evidence.pool).argmax(axis=1)
        return float((self.utility.max(axis=1) - self.utility[np.arange(len(chosen)), chosen]).mean())


def town(
    *, honest: int = 1200, bots: int = 0, attack: str = "flip", per_bot: int = 30, inquiries: int = 240, seed: int = 0
) -> Town:
    """``honest`` votes by people with 8 each, then ``bots`` votes by accounts with ``per_bot`` each.

    Attacks: "flip" inverts, "coin" tosses one, "campaign" comes upon reply 0 half of the time, praises it and nothing
    else.
    """
    rng = np.random.default_rng(seed)
    centres = _unit(rng.standard_normal((CATEGORIES, DIMENSION)))
    labels = rng.integers(0, CATEGORIES, inquiries)
    pool = _unit(centres[labels] + 0.12 * rng.standard_normal((inquiries, DIMENSION)))
    category = np.repeat(np.arange(CATEGORIES), 2)
    replies = Replies(_unit(centres[category] + 0.22 * rng.standard_normal((2 * CATEGORIES, DIMENSION))), category)
    reference = ReplyPolicy(3 * replies.vectors.T, np.zeros(len(replies)))
    utility = np.where(category == labels[:, None], np.where(np.arange(2 * CATEGORIES) % 2, 0.7, 1.0), 0.0)
    n = honest + bots
    hostile = np.arange(n) >= honest
    inquiry = rng.integers(0, inquiries, n)
    shown = reference.probabilities(pool[inquiry])
    reply, _ = draw(shown, rng)
    if attack == "campaign":
        reply[hostile & (rng.random(n) < 0.5)] = 0
    up = rng.random(n) < 0.05 + 0.85 * utility[inquiry, reply]
    against = {"flip": ~up, "coin": rng.random(n) < 0.5, "campaign": reply == 0}[attack]
    up = np.where(hostile, against, up).astype(float)
    voter = np.where(hostile, honest + np.arange(n) // per_bot, rng.integers(0, max(honest // 8, 1), n))
    propensity = np.take_along_axis(shown, reply[:, None], axis=1)[:, 0]
    votes = Votes(inquiry, reply, up, propensity, numbered(voter))
    return Town(Evidence(pool, replies, votes, np.ones(n), reference), labels, utility, hostile)


def expected_showings(evidence: Evidence) -> np.ndarray:
    """How often the reference would have shown each reply to the voted inquiries."""
    return evidence.reference.probabilities(evidence.pool[evidence.votes.inquiry]).sum(axis=0)


def true_approval(place: Town) -> np.ndarray:
    """P(up) of each vote were its voter honest, by the truth."""
    votes = place.evidence.votes
    return 0.05 + 0.85 * place.utility[votes.inquiry, votes.reply]


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)
