"""Service levels: how much of the error budget is spent, and how fast. Pure.

Burn rate and the pairs of windows are those of Google's Site Reliability Workbook, chapter 5 ("Alerting on SLOs"): an alert
fires where both a long window and a twelfth of it burn faster than a factor, so that it comes soon and also ends soon.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Objective:
    """A share of good events that is promised over `days`."""

    name: str
    share: float
    days: int = 30

    @property
    def budget(self) -> float:
        """The share of events that may be bad."""
        return 1.0 - self.share


@dataclass(frozen=True)
class Window:
    """Two windows that must both burn at `factor`, and how loudly it is said."""

    long_minutes: int
    short_minutes: int
    factor: float
    severity: str


AVAILABILITY = Objective("availability", 0.999)
# 95 of 100 answers of the hot paths within a tenth of a second.
LATENCY = Objective("latency", 0.95)
LATENCY_SECONDS = 0.1
OBJECTIVES = (AVAILABILITY, LATENCY)
WINDOWS = (
    Window(60, 5, 14.4, "page"),  # 2 % of 30 days' budget in an hour
    Window(6 * 60, 30, 6.0, "page"),  # 5 % in six hours
    Window(24 * 60, 2 * 60, 3.0, "ticket"),  # 10 % in a day
    Window(3 * 24 * 60, 6 * 60, 1.0, "ticket"),  # 10 % in three days
)


def burn_rate(objective: Objective, *, bad: float, total: float) -> float:
    """How many times faster than allowed the budget is spent; 0 where nothing happened.

    >>> round(burn_rate(AVAILABILITY, bad=144, total=10_000), 1)
    14.4
    """
    return bad / total / objective.budget if total else 0.0


def budget_left(objective: Objective, *, bad: float, total: float) -> float:
    """The share of the period's budget that is left; negative where it is overspent.

    >>> round(budget_left(AVAILABILITY, bad=5, total=10_000), 2)
    0.5
    """
    return 1.0 - burn_rate(objective, bad=bad, total=total)


def factor_of(objective: Objective, *, spent: float, minutes: float) -> float:
    """The burn rate at which `spent` of the budget goes within `minutes`.

    >>> round(factor_of(AVAILABILITY, spent=0.02, minutes=60), 1)
    14.4
    """
    return spent * objective.days * 24 * 60 / minutes


def firing(objective: Objective, window: Window, *, long: tuple[float, float], short: tuple[float, float]) -> bool:
    """Whether the alert of a window fires, by (bad, total) of its long and its short one."""
    rates = (burn_rate(objective, bad=bad, total=total) for bad, total in (long, short))
    return all(rate > window.factor for rate in rates)
