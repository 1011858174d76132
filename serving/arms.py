"""The two arms of a rollout at serving: the candidate beside the head in production, and who is answered by which.

The candidate's arm is answered as everybody would be after its promotion: by the encoder itself, without the fast step whose
thresholds were chosen for the head in production. A candidate that fails costs nobody an answer: production answers in its
stead, and the failure is counted against the candidate.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from feedback.problems import Problem
from serving.engine import Prediction, ServedHead
from serving.rollout import takes_candidate

log = logging.getLogger(__name__)
PRODUCTION, CANDIDATE, FALLBACK = "production", "candidate", "fallback"
Answering = Callable[[list[int]], list[Prediction]]  # places of texts → their predictions, in that order


@dataclass(frozen=True)
class Trial:
    """A candidate that is loaded, and the share of customers (percent) that it answers; 0 in the shadow."""

    rollout_id: int
    salt: str
    percent: int
    head: ServedHead


def answers(trial: Trial, units: Sequence[str], *, production: Answering, candidate: Answering) -> list[Prediction]:
    """Predictions in the order of `units` (customers), each marked with its arm."""
    chosen = [i for i, unit in enumerate(units) if takes_candidate(trial.salt, unit, trial.percent)]
    rest = [i for i in range(len(units)) if i not in set(chosen)]
    found = dict(zip(rest, _marked(trial, PRODUCTION, production(rest)), strict=True)) if rest else {}
    if chosen:
        found |= zip(chosen, _tried(trial, chosen, production, candidate), strict=True)
    return [found[i] for i in range(len(units))]


def _tried(trial: Trial, chosen: list[int], production: Answering, candidate: Answering) -> list[Prediction]:
    try:
        return _marked(trial, CANDIDATE, candidate(chosen))
    except Problem:  # too busy, not broken: both arms alike
        raise
    except Exception:
        log.exception("the candidate of rollout %s failed; production answers in its stead", trial.rollout_id)
        return _marked(trial, FALLBACK, production(chosen))


def _marked(trial: Trial, arm: str, given: list[Prediction]) -> list[Prediction]:
    return [replace(p, rollout_id=trial.rollout_id, arm=arm) for p in given]
