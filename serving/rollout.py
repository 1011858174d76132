"""A rollout's course: who gets the candidate, which steps there are, and which moves a state allows. Pure.

A candidate is first answered for in the shadow (0 %: nobody sees it), then given to a growing share of customers. A customer
has one place in [0, 1) for the whole of a rollout, so whoever was given the candidate at 1 % keeps it at 5 % and beyond. What
the evidence says is `serving.sequential`'s; this module knows what follows from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from serving.sequential import Metric, Verdict

STEPWISE: tuple[int, ...] = (0, 1, 5, 25, 50, 100)  # percent of customers; 0 is the shadow
AB_TEST: tuple[int, ...] = (50, 100)
PLANS = {"stepwise": STEPWISE, "ab": AB_TEST}
State = Literal["running", "held", "completed", "rolled_back", "aborted"]
ACTIVE: tuple[State, ...] = ("running", "held")


class NotAllowed(Exception):
    """The move does not exist in this state; the message says why."""


def place(salt: str, unit: str) -> float:
    """Where a customer stands in this rollout: uniform on [0, 1), the same at every step.

    >>> place("a", "customer-1") == place("a", "customer-1"), 0 <= place("b", "customer-1") < 1
    (True, True)
    """
    digest = hashlib.blake2b(unit.encode(), key=salt.encode()[:64], digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def takes_candidate(salt: str, unit: str, percent: float) -> bool:
    """Whether this customer is answered by the candidate while `percent` of all are."""
    return place(salt, unit) * 100 < percent


@dataclass(frozen=True)
class Course:
    """Where a rollout is. Every move gives the next course or raises NotAllowed."""

    plan: tuple[int, ...]
    step: int = 0
    state: State = "running"

    @property
    def percent(self) -> int:
        """The share of customers that the candidate answers now."""
        if self.state == "completed":
            return 100
        return self.plan[self.step] if self.state in ACTIVE else 0

    @property
    def shadow(self) -> bool:
        return self.state in ACTIVE and self.plan[self.step] == 0

    @property
    def last(self) -> bool:
        """The next step is everybody: the candidate is promoted."""
        return self.plan[self.step + 1] == 100

    def advanced(self) -> Course:
        """The next step; at 100 % it is over."""
        self._must_run("go on")
        following = replace(self, step=self.step + 1, state="running")
        return replace(following, state="completed") if self.plan[following.step] == 100 else following

    def held(self) -> Course:
        if self.state != "running":
            raise NotAllowed(f"A rollout that is {self.state} cannot be held.")
        return replace(self, state="held")

    def resumed(self) -> Course:
        if self.state != "held":
            raise NotAllowed(f"A rollout that is {self.state} cannot be resumed.")
        return replace(self, state="running")

    def rolled_back(self) -> Course:
        self._must_run("be rolled back")
        return replace(self, state="rolled_back")

    def aborted(self) -> Course:
        self._must_run("be aborted")
        return replace(self, state="aborted")

    def _must_run(self, what: str) -> None:
        if self.state not in ACTIVE:
            raise NotAllowed(f"A rollout that is {self.state} cannot {what}.")


@dataclass(frozen=True)
class Limits:
    """What each step asks for before it is left, and the limit of "slow"."""

    minimum_per_arm: int = 200  # customers of the smaller arm, in this step
    minimum_audited: int = 30  # audited answers of the smaller arm so far, before everybody gets the candidate
    maximum_looks: int = 14
    most_disagreement: float = 0.25  # with what serves, in the shadow: beyond it a person looks first
    slow_ms: float = 100.0
    alpha: float = 0.05


# The figures that can stop a rollout; alpha is shared over all of them by weight.
WATCHED = (
    Metric("accuracy", "rate", "lower", margin=0.05, weight=4, baseline=0.8),
    Metric("disagreement", "rate", "higher", margin=0.05, baseline=0.15),
    Metric("escalations", "rate", "higher", margin=0.03, baseline=0.1),
    Metric("errors", "rate", "higher", margin=0.01, baseline=0.002),
    Metric("slow", "rate", "higher", margin=0.03, baseline=0.05),
    Metric("nps", "mean", "lower", margin=10),
)
GUARDS = frozenset({"errors", "slow"})  # looked at all the time; the others once per look
ENOUGH_FOR_A_MEAN = 30  # values per arm of a look: the normal mixture needs some tens


@dataclass(frozen=True)
class Seen:
    """What there is at a look: customers and looks of this step, audited answers so far, the shadow's disagreement."""

    customers: int
    looks: int
    audited: int
    differing: int = 0
    mirrored: int = 0


def outcome(course: Course, limits: Limits, verdict: Verdict, seen: Seen) -> tuple[str, dict[str, Any]]:
    """What to do after a look (rollback, advance or hold) and why, as data: {"code": …, …}."""
    if verdict.action == "rollback":
        return "rollback", {
            "code": "harm", "metric": verdict.blame, "e_value": round(verdict.e_value, 1), "p_value": verdict.p_value,
        }  # fmt: skip
    lacks = _lacking(course, limits, seen)
    if course.state == "held":
        return "hold", {"code": "held", "lacks": lacks}
    if not lacks:
        return "advance", {"code": "evidence", "customers": seen.customers, "audited": seen.audited}
    return "hold", {"code": "late" if seen.looks >= limits.maximum_looks else "wait", "lacks": lacks}


def _lacking(course: Course, limits: Limits, seen: Seen) -> list[dict[str, Any]]:
    """What is missing before this step may be left."""
    lacks: list[dict[str, Any]] = []
    if seen.customers < limits.minimum_per_arm:
        lacks.append({"code": "customers", "seen": seen.customers, "needed": limits.minimum_per_arm})
    if course.last and seen.audited < limits.minimum_audited:
        lacks.append({"code": "audited", "seen": seen.audited, "needed": limits.minimum_audited})
    if course.shadow and seen.differing > limits.most_disagreement * seen.mirrored:
        lacks.append({"code": "differs", "seen": seen.differing, "of": seen.mirrored})
    return lacks


def percents(plan: Sequence[int]) -> tuple[int, ...]:
    """A stored plan, checked: rising shares that end with everybody. Raises ValueError."""
    found = tuple(int(p) for p in plan)
    if len(found) < 2 or found[-1] != 100 or list(found) != sorted(set(found)) or found[0] < 0:
        raise ValueError(f"a plan rises to 100 %: {found}")
    return found
