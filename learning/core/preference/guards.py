"""What must not get worse while a policy wins thumbs: guard metrics, and replies that win clicks and lose customers.

Off-policy estimates say what a policy gains by the votes. These checks look at what votes do not show, on outcomes
logged under both policies (shadow or canary against production).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from learning.core.preference.evidence import Flags, Floats, Ints


@dataclass(frozen=True)
class Change:
    """Difference new − old of a mean, with its interval; NaN and infinite without two values on each side."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Guard:
    """A metric (escalation rate, re-ask rate, reply length …) that may rise by at most ``allowed``."""

    name: str
    allowed: float


def change(old: Floats, new: Floats, *, level: float = 0.95) -> Change:
    """Welch interval of the difference of means; for rates pass 0 and 1."""
    if min(len(old), len(new)) < 2:
        return Change(float("nan"), -np.inf, np.inf)
    value = float(new.mean() - old.mean())
    error = float(np.sqrt(old.var(ddof=1) / len(old) + new.var(ddof=1) / len(new)))
    half = NormalDist().inv_cdf(0.5 + level / 2) * error
    return Change(value, value - half, value + half)


def breached(guards: list[Guard], old: dict[str, Floats], new: dict[str, Floats]) -> list[str]:
    """A sentence per guard whose rise is surely above what is allowed (the whole interval): empty is good."""
    found = []
    for guard in guards:
        rise = change(old[guard.name], new[guard.name])
        if rise.low > guard.allowed:
            found.append(
                f"{guard.name} rose by {rise.value:.3f} (at least {rise.low:.3f}); {guard.allowed:g} is allowed."
            )
    return found


def reward_hacking(
    reply: Ints, new: Flags, clicked: Flags, resolved: Flags, *, significance: float = 0.05
) -> list[int]:
    """Replies that under the new policy surely win clicks *and* surely lose resolutions: ids, in order.

    All arrays are [n], one row per shown reply. One-sided on both counts, Bonferroni over the replies.
    """
    replies = np.unique(reply)
    level = 1 - 2 * significance / max(len(replies), 1)
    hacked = []
    for one in replies:
        rows = reply == one
        clicks = change(clicked[rows & ~new].astype(float), clicked[rows & new].astype(float), level=level)
        solved = change(resolved[rows & ~new].astype(float), resolved[rows & new].astype(float), level=level)
        if clicks.low > 0 and solved.high < 0:
            hacked.append(int(one))
    return hacked
