"""One trial of a search: a network with the options learns what was labeled, part after part, and is asked about the rest.

A fifth of the train fold, whole groups of near-duplicates, validates; the calibrate fold is left for who serves, the test fold
for the gates. The others come in the order in which they were asked, so that a trial sees what a service sees: experiences, one
after another, none twice but for what its method replays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Fold
from learning.core import calibration as cal
from learning.core.continual.learner import ContinualLearner, Experience, Options
from learning.core.continual.methods import FEEDBACK, METHODS
from learning.models import Search
from learning.restoring import restore
from learning.snapshots import Material

EXPERIENCES = 5
VALIDATES = 5  # one group of near-duplicates in so many


@dataclass(frozen=True)
class Outcome:
    """On the validation labels: log-loss at the best temperature, and the share that is right."""

    loss: float
    accuracy: float


def evaluate(search: Search, options: Mapping[str, Any], report: Callable[[float], None]) -> Outcome:
    """Deterministic on CPU for a number of threads. Raises LookupError where labels of the search are no more."""
    plain, judged = restore(search.snapshot), restore(search.judged)
    if not (plain.whole and judged.whole):
        raise LookupError("labels of the search were erased or their texts changed: search again")
    material = plain.material
    own = {name: value for name, value in options.items() if name not in FEEDBACK}
    strength = float(options.get("feedback_weight", 0.0))
    at_zero, at_one = material.dataset.weights(), judged.material.dataset.weights()
    weights = at_zero + strength * (at_one - at_zero)
    y = material.dataset.labels(material.categories)
    learns, validates = split(material)
    given = Options(**METHODS[search.method].with_options(own), seed=search.seed)
    learner = ContinualLearner(
        material.dataset.x.shape[1], len(material.categories), given, lambda at: material.dataset.x[at]
    )
    for n, part in enumerate(np.array_split(learns, EXPERIENCES)):
        report(n / EXPERIENCES)
        if len(part):
            learner.learn(Experience(part, material.dataset.x[part], y[part], weights[part]))
    return _outcome(learner.scores(material.dataset.x[validates]), y[validates])


def split(material: Material) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the train fold that are learned, and rows that validate; a group of near-duplicates lies on one side."""
    rows = material.dataset.rows
    train = np.flatnonzero(material.dataset.fold(Fold.TRAIN))
    aside = np.array([_number(rows[at].group) % VALIDATES == 0 for at in train.tolist()], dtype=bool)
    return train[~aside], train[aside]


def _number(group: str) -> int:
    return int.from_bytes(hashlib.sha256(b"validates" + group.encode()).digest()[:4], "big")


def _outcome(scores: NDArray[np.float64], y: NDArray[np.int64]) -> Outcome:
    if not np.isfinite(scores).all():
        raise ValueError("the network diverged")
    temperature = float(cal.fit_temperature(scores, y))
    return Outcome(float(cal.log_loss(scores / temperature, y)), float((scores.argmax(axis=1) == y).mean()))
