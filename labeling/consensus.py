"""Weighted consensus: what is an item, given who says what, and how each of them errs. Pure numpy.

Follows Dawid and Skene (1979): each annotator has a confusion matrix (which category they name when it truly is another),
items have a true category, and expectation–maximisation finds both. Where few answers are known, a matrix is drawn towards
one that only knows how often its owner is right at all, and that share towards the average of all: categories that an
annotator has hardly seen do not make them an expert, nor a fool.

Deterministic: it starts from the shares of the votes, and draws nothing. It does not handle annotators who answer one item
twice, or who copy each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """Answers as three arrays of one length: item, annotator and category by number, each from 0."""

    items: Ints
    annotators: Ints
    categories: Ints
    n_items: int
    n_annotators: int
    n_categories: int

    def __post_init__(self) -> None:
        if not len(self.items) == len(self.annotators) == len(self.categories):
            raise ValueError("items, annotators and categories must have one length")
        for values, limit in (
            (self.items, self.n_items), (self.annotators, self.n_annotators), (self.categories, self.n_categories),
        ):  # fmt: skip
            if len(values) and not (values.min() >= 0 and values.max() < limit):
                raise ValueError("a number lies outside its range")


@dataclass(frozen=True)
class Config:
    """`strength`: how many answers the drawn-to matrix is worth, per annotator and category. `stop`: mean change of
    an item's posterior (summed over categories) at which the iteration ends.
    """

    strength: float = 2.0
    iterations: int = 50
    stop: float = 1e-4


@dataclass(frozen=True)
class Consensus:
    """`posterior` (items × categories), `confusion` (annotators × true × said), `prior` (categories)."""

    posterior: Floats
    confusion: Floats
    prior: Floats
    iterations: int

    @property
    def categories(self) -> Ints:
        """The most probable category of each item."""
        return np.asarray(self.posterior.argmax(axis=1), dtype=np.int64)


def majority(answers: Answers) -> Ints:
    """The most frequent answer per item; among equals the category that is more frequent overall, then the lower number."""
    votes = _votes(answers)
    overall = votes.sum(axis=0)
    return np.asarray((votes + overall / (2 * overall.sum() + 1)).argmax(axis=1), dtype=np.int64)


def dawid_skene(answers: Answers, config: Config | None = None) -> Consensus:
    """Posterior of each item's category, and the confusion matrix of each annotator."""
    config = config or Config()
    votes = _votes(answers)
    belief = (votes + 1e-9) / (votes + 1e-9).sum(axis=1, keepdims=True)
    done = 0
    for done in range(1, config.iterations + 1):  # noqa: B007 - the number of the last round is part of the answer
        prior, confusion = _maximise(answers, belief, config)
        after = _expect(answers, prior, confusion)
        moved = float(np.abs(after - belief).sum()) / max(answers.n_items, 1)
        belief = after
        if moved < config.stop:
            break
    prior, confusion = _maximise(answers, belief, config)
    return Consensus(belief, confusion, prior, done)


def believe(answers: Answers, learned: Consensus) -> Floats:
    """Posterior of items that had no part in what was learned: their own answers do not vouch for themselves."""
    return _expect(answers, learned.prior, learned.confusion)


def _votes(answers: Answers) -> Floats:
    cells = answers.items * answers.n_categories + answers.categories
    counts = np.bincount(cells, minlength=answers.n_items * answers.n_categories)
    return counts.reshape(answers.n_items, answers.n_categories).astype(np.float64)


def _maximise(answers: Answers, belief: Floats, config: Config) -> tuple[Floats, Floats]:
    people, labels = answers.n_annotators, answers.n_categories
    prior = belief.sum(axis=0) + 1.0 / labels
    prior /= prior.sum()
    cell = answers.annotators * labels + answers.categories
    weighted = [
        np.bincount(cell, np.ascontiguousarray(belief[:, k])[answers.items], people * labels) for k in range(labels)
    ]
    # annotators × true × said
    counts = np.stack(weighted).astype(np.float64).reshape(labels, people, labels).transpose(1, 0, 2)
    drawn_to = _one_coin(counts, config.strength)
    confusion = counts + config.strength * drawn_to
    return prior, confusion / confusion.sum(axis=2, keepdims=True)


def _one_coin(counts: Floats, strength: float) -> Floats:
    """Matrices that know only how often each annotator is right, that share drawn towards the average of all."""
    labels = counts.shape[1]
    right, total = np.trace(counts, axis1=1, axis2=2), counts.sum(axis=(1, 2))
    average = (right.sum() + 1.0) / (total.sum() + 1.0 + 1.0 / labels)
    share = np.clip((right + strength * average) / (total + strength), 1.0 / labels, 1.0 - 1e-6)
    apart = (1.0 - share) / max(labels - 1, 1)
    return np.asarray(apart[:, None, None] + (share - apart)[:, None, None] * np.eye(labels))


def _expect(answers: Answers, prior: Floats, confusion: Floats) -> Floats:
    labels = answers.n_categories
    logs = np.log(confusion)
    cell = answers.annotators * labels + answers.categories
    score = np.empty((labels, answers.n_items))
    for k in range(labels):
        score[k] = np.bincount(answers.items, np.ascontiguousarray(logs[:, k, :]).ravel()[cell], answers.n_items)
    score += np.log(prior)[:, None]
    score -= score.max(axis=0)
    belief = np.exp(score)
    belief /= belief.sum(axis=0)
    return np.asarray(belief.T)
