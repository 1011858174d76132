"""When to retrain, and which monitor to look at first.

Drift is a lead, performance is the verdict: the rule acts on bounds of audited accuracy, and on drift only when it
stays critical.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from learning.core.audit import Estimate, drop_bounds

Reason = Literal["accuracy", "drop", "drift", "cooling down", "healthy", "too few audits"]


@dataclass(frozen=True)
class Policy:
    """Thresholds of the rule. Accuracies are fractions; ``cool_down`` is in days."""

    least_accuracy: float = 0.85
    most_drop: float = 0.05
    audited: int = 200
    critical_checks: int = 3
    cool_down: float = 1.0


@dataclass(frozen=True)
class Verdict:
    """``reason`` is a code; ``sentence`` says it to a person, with the numbers."""

    retrain: bool
    reason: Reason
    sentence: str


def retraining(
    now: Estimate,
    before: Estimate | None,
    *,
    critical_in_a_row: int,
    days_since_last: float,
    policy: Policy | None = None,
) -> Verdict:
    """The retraining rule: ``now`` and ``before`` are audited accuracies with 95 % bounds, ``before`` that at
    promotion.
    """
    policy = policy or Policy()
    found = _wanted(now, before, critical_in_a_row, policy)
    if found.retrain and days_since_last < policy.cool_down:
        return Verdict(
            False, "cooling down", f"{found.sentence} The last retraining is {days_since_last:.1f} days old: waiting."
        )
    return found


def _wanted(now: Estimate, before: Estimate | None, critical_in_a_row: int, policy: Policy) -> Verdict:
    enough = now.n >= policy.audited
    if enough and now.upper < policy.least_accuracy:
        text = f"Audited accuracy is {now.value:.1%}, at most {now.upper:.1%}: below {policy.least_accuracy:.0%}."
        return Verdict(True, "accuracy", text)
    fallen = drop_bounds(before, now)[0] if before is not None and before.n else -1.0
    if enough and fallen > policy.most_drop:
        return Verdict(True, "drop", f"Audited accuracy has fallen by at least {fallen:.1%} since promotion.")
    if critical_in_a_row >= policy.critical_checks:
        return Verdict(True, "drift", f"{critical_in_a_row} drift checks in a row were critical.")
    if not enough:
        return Verdict(False, "too few audits", f"{now.n} of {policy.audited} audited answers: no verdict yet.")
    return Verdict(False, "healthy", f"Audited accuracy is {now.value:.1%} ({now.lower:.1%} to {now.upper:.1%}).")


@dataclass(frozen=True)
class Monitor:
    """``chance`` that it finds something now, what that is worth, and what a look costs (value and cost in one unit)."""

    name: str
    chance: float
    value: float
    cost: float

    def __post_init__(self) -> None:
        if not 0 <= self.chance <= 1 or self.cost <= 0:
            raise ValueError(f"{self.name}: chance lies in [0, 1] and cost is positive")

    @property
    def worth(self) -> float:
        """Expected value per cost."""
        return self.chance * self.value / self.cost


def monitor_order(monitors: Sequence[Monitor], *, budget: float = float("inf")) -> list[Monitor]:
    """Monitors by expected value per cost, as far as the budget goes; those not worth their cost are left out.

    Where all findings are worth the same, no other order finds the first one at a lower expected cost (Smith's rule).
    """
    chosen, left = [], budget
    for m in sorted(monitors, key=lambda m: (-m.worth, m.name)):
        if m.worth >= 1 and m.cost <= left:
            chosen.append(m)
            left -= m.cost
    return chosen


def expected_cost(order: Sequence[Monitor]) -> float:
    """Expected cost of looking in this order until the first finding, chances being independent."""
    total, unfound = 0.0, 1.0
    for m in order:
        total += unfound * m.cost
        unfound *= 1 - m.chance
    return total
