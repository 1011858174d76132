"""Options that are tried next, from what was told of those before (Optuna's TPE, Bergstra et al. 2011); nothing is kept here.

The study is built anew from the trials each time, and the sampler begins with a seed of the generation, so that a proposal
depends on the seed and on the trials before it alone: not on who ran them, in what order they ended, or how often a process
was killed in between. That is why trials of one generation do not learn from each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from learning.core.continual.methods import WHOLE, Bounds, whole


@dataclass(frozen=True)
class Told:
    """A trial that has ended; ``loss`` is None where it failed."""

    options: Mapping[str, float]
    loss: float | None


def proposals(searched: Mapping[str, Bounds], told: Sequence[Told], *, count: int, seed: int) -> list[dict[str, Any]]:
    """``count`` sets of options within ``searched`` (on a log scale). The very first is the geometric middle."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {name: _distribution(name, bounds) for name, bounds in searched.items()}
    study = optuna.create_study(
        direction="minimize", sampler=optuna.samplers.TPESampler(seed=(seed * 100_003 + len(told)) % 2**32)
    )
    for trial in told:
        state = TrialState.FAIL if trial.loss is None else TrialState.COMPLETE
        study.add_trial(create_trial(params=dict(trial.options), distributions=space, value=trial.loss, state=state))
    if not told:
        study.enqueue_trial({name: whole(name, (low * high) ** 0.5) for name, (low, high) in searched.items()})
    return [dict(study.ask(space).params) for _ in range(count)]


def _distribution(name: str, bounds: Bounds) -> BaseDistribution:
    low, high = bounds
    return IntDistribution(int(low), int(high), log=True) if name in WHOLE else FloatDistribution(low, high, log=True)
