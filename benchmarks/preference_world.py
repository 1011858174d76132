"""The world of ``benchmarks.preference``: inquiries, two replies per category, thumbs, and three kinds of attack.

Learners are given `Thumbs.votes`, the replies and the reference policy. Utilities, labels and who is hostile stay here:
they make the votes and judge the policies. What the text of docs/benchmarks.md leaves open is set as follows. The
texts of the replies are made from the category's name. A vote's propensity is logged as the reference policy's, for
bots' inquiries too. Votes carry neither time nor network, as if every attack were as patient and spread out as honest
people are. The pair of a preference judgement is drawn from the reference policy, as people would see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.harness import Corpus, embed
from learning.core.preference.evidence import Replies, Votes, numbered
from learning.core.preference.policy import ReplyPolicy, draw

FULL = "Thank you for asking about {}. Here is what to do, step by step, and whom to ask if it does not help."
CURT = "{}: see the help page."
SHARPNESS = 12.0
ATTACKS = ("flip", "campaign", "crowd")
HONEST_VOTES, BOT_VOTES, TARGETS = 8, 40, 3
JUDGED_PAIRS = 10  # per held-out inquiry
DISCERNIBLE = 0.05  # utility; one praise in 24


@dataclass(frozen=True)
class World:
    """``pool`` [n, d] inquiries to vote on, ``held_out`` [m, d] to judge on, candidates, and the hidden utilities."""

    pool: np.ndarray
    held_out: np.ndarray
    replies: Replies
    pool_utility: np.ndarray
    held_out_utility: np.ndarray

    @property
    def reference(self) -> ReplyPolicy:
        """softmax(12·cos(inquiry, reply))."""
        return ReplyPolicy(SHARPNESS * self.replies.vectors.T, np.zeros(len(self.replies), dtype=np.float32))


@dataclass(frozen=True)
class Thumbs:
    """One draw of votes, and which of them are hostile (for the oracle filter and the report only)."""

    votes: Votes
    hostile: np.ndarray


def build(corpus: Corpus, encoder: Any) -> World:
    """Embed the corpus and two replies per category; utilities as docs/benchmarks.md defines them."""
    pool, held_out = embed(encoder, corpus.train_texts), embed(encoder, corpus.test_texts)
    texts = [form.format(name) for name in corpus.names for form in (FULL, CURT)]
    replies = Replies(embed(encoder, texts), np.repeat(np.arange(len(corpus.names)), 2))
    utility = utilities(class_means(pool, corpus.train_labels, len(corpus.names)))
    return World(pool, held_out, replies, utility[corpus.train_labels], utility[corpus.test_labels])


def class_means(x: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Unit mean vectors [classes, d]."""
    means = np.stack([x[labels == c].mean(axis=0) for c in range(classes)])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))


def utilities(means: np.ndarray) -> np.ndarray:
    """Utility [classes, replies] of each reply for inquiries of each class."""
    other = 0.35 * np.maximum(0.0, means @ means.T - 0.3)
    utility = np.repeat(other, 2, axis=1)
    own = np.arange(len(means))
    utility[own, 2 * own], utility[own, 2 * own + 1] = 1.0, 0.7
    return utility


def thumbs(world: World, attack: str, rate: float, *, seed: int, count: int = 12_000) -> Thumbs:
    """``count`` votes, a share ``rate`` of them hostile in the manner of ``attack``."""
    rng = np.random.default_rng([seed, ATTACKS.index(attack), round(1000 * rate)])
    hostile = np.arange(count) < round(rate * count)
    inquiry = rng.integers(0, len(world.pool), count)
    shown = world.reference.probabilities(world.pool[inquiry])
    reply, _ = draw(shown, rng)
    targets = rng.choice(len(world.replies), TARGETS, replace=False)
    if attack != "flip":
        steered = hostile & (rng.random(count) < 0.5)
        reply[steered] = rng.choice(targets, int(steered.sum()))
    up = rng.random(count) < 0.05 + 0.85 * world.pool_utility[inquiry, reply]
    up = np.where(hostile, ~up if attack == "flip" else np.isin(reply, targets), up)
    voter = _voters(hostile, attack, rng)
    propensity = np.take_along_axis(shown, reply[:, None], axis=1)[:, 0]
    order = rng.permutation(count)
    votes = Votes(inquiry, reply, up.astype(np.float64), propensity, voter).take(order)
    return Thumbs(votes, hostile[order])


def _voters(hostile: np.ndarray, attack: str, rng: np.random.Generator) -> np.ndarray:
    bots, honest = int(hostile.sum()), int((~hostile).sum())
    sizes = rng.integers(1, 3, bots) if attack == "crowd" else np.full(bots, BOT_VOTES)
    accounts = np.repeat(np.arange(bots), sizes)[:bots]
    people = bots + rng.integers(0, max(honest // HONEST_VOTES, 1), honest)
    names = rng.permutation(bots + people.max(initial=0) + 1)  # numbers must not tell who is who
    return numbered(names[np.concatenate([accounts, people])])


def judge(world: World, policy: ReplyPolicy) -> dict[str, float]:
    """Regret of the reply that would be sent, and how often the better of two shown replies is ranked higher."""
    scores, utility = policy.scores(world.held_out), world.held_out_utility
    rows = np.arange(len(scores))
    regret = utility.max(axis=1) - utility[rows, scores.argmax(axis=1)]
    right, judged, told, telling = 0, 0, 0, 0
    rng = np.random.default_rng(20)
    shown = world.reference.probabilities(world.held_out)
    for _ in range(JUDGED_PAIRS):
        a, b = draw(shown, rng)[0], draw(shown, rng)[0]
        gap = utility[rows, a] - utility[rows, b]
        agrees = (scores[rows, a] > scores[rows, b]) == (gap > 0)
        right, judged = right + int(agrees[gap != 0].sum()), judged + int((gap != 0).sum())
        clear = np.abs(gap) > DISCERNIBLE
        told, telling = told + int(agrees[clear].sum()), telling + int(clear.sum())
    sampled = (policy.probabilities(world.held_out) * utility).sum(axis=1)
    return {
        "regret": float(regret.mean()),
        "preference_accuracy": told / max(telling, 1),
        "preference_accuracy_strict": right / max(judged, 1),
        "sampled_regret": float((utility.max(axis=1) - sampled).mean()),
    }
