"""Gates: named checks with a stored result. A version that fails one does not serve."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from feedback.models import Fold
from learning.core.calibration import accuracy, expected_calibration_error, paired_difference
from learning.core.heads.training import TrainedHead
from learning.datasets import Dataset
from serving import registry
from serving.artifacts import CorruptBundle
from serving.head import OnnxHead
from serving.models import ModelVersion

log = logging.getLogger(__name__)
# Fewer test-fold labels than this cannot tell two models apart: the comparison then passes, and says so.
ENOUGH = 30
MAX_BUNDLE_BYTES = 50 * 2**20


@dataclass(frozen=True)
class Result:
    """What a gate found, in numbers and in a sentence."""

    name: str
    passed: bool
    value: float | None
    threshold: float | None
    detail: str


@dataclass(frozen=True)
class Candidate:
    head: TrainedHead
    categories: tuple[str, ...]
    parity: float
    bundle_bytes: int


@dataclass(frozen=True)
class Serving:
    """The version that serves, opened for comparison."""

    name: str
    head: OnnxHead

    @classmethod
    def load(cls, model: ModelVersion) -> Serving | None:
        try:
            return cls(f"v{model.number}", OnnxHead.load(registry.open_bundle(model)))
        except CorruptBundle as error:
            log.error("version %s cannot be compared with: %s", model, error)
            return None


def judge(candidate: Candidate, *, dataset: Dataset, serving: Serving | None) -> list[Result]:
    """All gates, each with its result."""
    return [_parity(candidate), _size(candidate), _sane(candidate, dataset), _not_worse(candidate, dataset, serving)]


def metrics(candidate: Candidate, dataset: Dataset) -> dict[str, Any]:
    """Cross-validated figures of the training with the test fold's accuracy, its interval and its calibration."""
    test = dataset.fold(Fold.TEST)
    y = dataset.labels(candidate.categories)[test]
    found: dict[str, Any] = {**candidate.head.metrics, "labels": len(dataset.rows), "test_labels": int(test.sum())}
    if test.any():
        p = candidate.head.probabilities(dataset.x[test])
        interval = accuracy(p.argmax(axis=1), y)
        found["test_accuracy"] = {"value": interval.estimate, "low": interval.low, "high": interval.high}
        found["test_ece"] = expected_calibration_error(p, y)
    return found


def _parity(candidate: Candidate) -> Result:
    return Result(
        "parity",
        candidate.parity <= 1e-5,
        candidate.parity,
        1e-5,
        "largest difference of a probability after export; no flips",
    )


def _size(candidate: Candidate) -> Result:
    size = candidate.bundle_bytes
    return Result("size", size <= MAX_BUNDLE_BYTES, float(size), float(MAX_BUNDLE_BYTES), "bytes of the bundle")


def _sane(candidate: Candidate, dataset: Dataset) -> Result:
    """On what it has seen, a head must be better than the most frequent category: catches shuffled labels and broken fits."""
    train = dataset.fold(Fold.TRAIN)
    y = dataset.labels(candidate.categories)[train]
    if not len(y) or len(np.unique(y)) < 2:
        return Result("functionality", True, None, None, "fewer than two categories have labels")
    value = float((candidate.head.probabilities(dataset.x[train]).argmax(axis=1) == y).mean())
    floor = float(np.bincount(y).max() / len(y))
    return Result(
        "functionality", value >= floor, value, floor, "accuracy on its own labels against the most frequent category"
    )


def _not_worse(candidate: Candidate, dataset: Dataset, serving: Serving | None) -> Result:
    """On the test fold, which no head has trained on: the drop's 95 % interval must not lie wholly above zero."""
    name = "accuracy against the version in service"
    test = dataset.fold(Fold.TEST)
    if serving is None:
        return Result(name, True, None, None, "nothing serves yet that could be compared with")
    if test.sum() < ENOUGH:
        return Result(
            name,
            True,
            None,
            None,
            f"{test.sum()} labels in the test fold are too few to compare on; {ENOUGH} are needed",
        )
    truth = [r.category for r, t in zip(dataset.rows, test, strict=True) if t]
    mine = _right(candidate.categories, candidate.head.probabilities(dataset.x[test]), truth)
    theirs = _right(serving.head.categories, serving.head.predict(dataset.x[test]), truth)
    gain = paired_difference(mine, theirs)
    detail = f"gain over {serving.name} on {test.sum()} labels, 95 % interval {gain.low:+.3f} to {gain.high:+.3f}"
    return Result(name, gain.high >= 0.0, gain.estimate, 0.0, detail)


def _right(categories: tuple[str, ...], p: Any, truth: list[str]) -> Any:
    return np.array([categories[i] == t for i, t in zip(p.argmax(axis=1), truth, strict=True)])
