"""How far a project's loop runs by itself: four measured aspects, each in five levels, and their mean.

Deployments and time to recover are two of the four key measures of software delivery (Forsgren, Humble and Kim 2018); the
share of passed gates stands for the tests of a model (Breck et al. 2017, "The ML test score"); the share answered without a
person is what the loop is for. What has not been measured does not count, and is named: a loop that was never alarmed has not
shown that it recovers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

# A value reaches level n where it is at least (automation, gates, deployments) or at most (recovery) the n-th bound.
AUTOMATION = (0.10, 0.30, 0.50, 0.70)  # share of inquiries answered by the model alone
GATES = (0.50, 0.80, 0.95, 1.0)  # share of the gate checks of new versions that passed
DEPLOYMENTS = (1, 2, 4, 12)  # versions that went live in thirty days
RECOVERY = (30.0, 7.0, 2.0, 0.5)  # days from an alarm to the next version that went live
LEVELS = 4


@dataclass(frozen=True)
class Aspect:
    """One measure: its value, its level (0 to 4), and of how many observations; ``value`` None: not measured."""

    name: str
    value: float | None
    level: int
    n: int

    @property
    def measured(self) -> bool:
        return self.value is not None


@dataclass(frozen=True)
class Maturity:
    """``score`` is 0 to 100 over the measured aspects, None without any; ``missing`` names the others."""

    aspects: tuple[Aspect, ...]
    score: int | None

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.aspects if not a.measured)


def maturity(
    *, automated: tuple[float, float], gates: tuple[float, float], deployments: int | None, recoveries: Sequence[float]
) -> Maturity:
    """``automated`` and ``gates`` are (successes, trials); ``deployments`` in thirty days, None before any version; ``recoveries``
    in days, one for each alarm that a new version followed.

    >>> maturity(automated=(50, 100), gates=(19, 20), deployments=3, recoveries=[1.0]).score
    75
    """
    aspects = (
        _share("automation", automated, AUTOMATION),
        _share("gates", gates, GATES),
        _aspect("deployments", None if deployments is None else float(deployments), DEPLOYMENTS, deployments or 0),
        _recovery(recoveries),
    )
    levels = [a.level for a in aspects if a.measured]
    return Maturity(aspects, round(100 * sum(levels) / (LEVELS * len(levels))) if levels else None)


def _share(name: str, counted: tuple[float, float], bounds: Sequence[float]) -> Aspect:
    hits, n = counted
    return _aspect(name, hits / n if n else None, bounds, round(n))


def _aspect(name: str, value: float | None, bounds: Sequence[float], n: int) -> Aspect:
    return Aspect(name, value, 0 if value is None else sum(value >= b for b in bounds), n)


def _recovery(days: Sequence[float]) -> Aspect:
    """The median, so that one long holiday does not rule."""
    value = median(days) if days else None
    return Aspect("recovery", value, 0 if value is None else sum(value <= b for b in RECOVERY), len(days))


def recoveries(alarms: Sequence[float], deployments: Sequence[float]) -> list[float]:
    """Time from each first alarm to the next deployment; alarms before that deployment are one outage, not several.

    >>> recoveries([1.0, 1.5, 9.0], [2.0, 3.0])
    [1.0]
    """
    found: list[float] = []
    recovered = float("-inf")
    for alarm in sorted(alarms):
        if alarm <= recovered:
            continue
        after = [d for d in deployments if d >= alarm]
        if not after:
            break
        recovered = min(after)
        found.append(recovered - alarm)
    return found
