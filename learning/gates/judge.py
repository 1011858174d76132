"""All gates, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from learning.core import calibration as cal
from learning.core.heads.training import TrainedHead
from learning.gates import artifact, behaviour, quality
from learning.gates.evidence import Evidence
from learning.gates.result import Result

GATES: tuple[Callable[[Evidence], Result], ...] = (
    artifact.parity,
    artifact.size,
    artifact.latency,
    artifact.encoder,
    artifact.leakage,
    quality.accuracy,
    quality.audit,
    quality.categories,
    quality.forgetting,
    quality.calibration,
    quality.fairness,
    quality.distribution,
    behaviour.functionality,
    behaviour.directional,
    behaviour.invariance,
    behaviour.robustness,
)


def judge(evidence: Evidence) -> list[Result]:
    """Every gate, each with its result."""
    return [gate(evidence) for gate in GATES]


def metrics(head: TrainedHead, evidence: Evidence) -> dict[str, Any]:
    """Cross-validated figures of the training with the test fold's accuracy, its interval and its calibration."""
    labels = len(evidence.train) + len(evidence.test)
    found: dict[str, Any] = {**head.metrics, "labels": labels, "test_labels": len(evidence.test)}
    known = evidence.test.only(np.array([k in evidence.head.categories for k in evidence.test.keys], dtype=bool))
    if len(known):
        p = evidence.head.predict(known.x)
        y = np.array([evidence.head.categories.index(k) for k in known.keys])
        interval = cal.accuracy(p.argmax(axis=1), y)
        found["test_accuracy"] = {"value": interval.estimate, "low": interval.low, "high": interval.high}
        found["test_ece"] = cal.expected_calibration_error(p, y)
    if e := _forgotten(evidence):
        found["forgotten"] = e
    return found


def _forgotten(evidence: Evidence) -> dict[str, Any]:
    """By past version, on the test labels that it knew of: how many, its accuracy on them, and this version's."""
    return {
        name: {
            "labels": len(known), "then": float(past.right(known).mean()),
            "now": float(evidence.candidate.right(known).mean()),
        }
        for name, (past, known) in evidence.past.items() if len(known)
    }  # fmt: skip
