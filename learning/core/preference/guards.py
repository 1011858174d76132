"""What must not get worse while a policy wins thumbs: guard metrics, and replies that win clicks and lose customers.

Off-policy estimates say what a policy gains by the votes. These checks look at what votes do not show: on outcomes logged
under both policies (shadow or canary against production), or, before anybody is shown the new one, on the log of the old.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from learning.core.preference.evidence import Flags, Floats, Ints
from learning.core.preference.offpolicy import Estimate, Terms, snips
from learning.core.preference.policy import ReplyPolicy


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


RAISED = 0.01  # a reply that the new policy sends so much more often has to answer for what it does to customers


@dataclass(frozen=True)
class Hack:
    """A reply that wins rewards and loses customers, against what the policy in service sends in its place."""

    reply: int
    reward: Estimate
    failed: Estimate


@dataclass(frozen=True)
class Logged:
    """What was shown: embeddings ``x`` [n, d], ``shown`` [n] and its ``propensity`` [n], candidates' ``shares`` [n, R],
    and what became of it: whether it was ``rewarded`` (a click, a thumb up) and whether it ``failed`` the customer [n]."""

    x: Floats
    shown: Ints
    propensity: Floats
    shares: Floats
    rewarded: Flags
    failed: Flags


def winners_that_fail(
    new: ReplyPolicy, old: ReplyPolicy, log: Logged, *, allowed: float, significance: float = 0.05, clip: float = 20.0
) -> list[Hack]:
    """Replies that ``new`` raises, that surely win more rewards than what ``old`` sends to the same inquiries, and that
    surely fail more than ``allowed`` more of them.

    Off-policy (self-normalised, paired), on the inquiries for which the reply was eligible; one-sided on both counts,
    Bonferroni over the raised replies. Averages over all replies hide what one of many does to its own customers.
    """
    eligible = log.shares > 0
    p = [policy.probabilities(log.x, eligible) for policy in (new, old)]
    count = np.maximum(eligible.sum(axis=0), 1)
    raised = np.flatnonzero((p[0] - p[1]).sum(axis=0) / count > RAISED)
    level = 1 - 2 * significance / max(len(raised), 1)
    found = []
    for reply in raised.tolist():
        rows = np.flatnonzero(eligible[:, reply])
        shown = (log.shown[rows] == reply).astype(np.float64)
        before = p[1][rows, log.shown[rows]]
        if not (shown.any() and before.any()):
            continue
        given = {"target": shown, "before": before, "propensity": log.propensity[rows], "clip": clip}
        reward = _rise(log.rewarded[rows], level=level, **given)
        failed = _rise(log.failed[rows], level=level, **given)
        if reward.low > 0 and failed.low > allowed:
            found.append(Hack(reply, reward, failed))
    return found


def _rise(outcome: Flags, *, target: Floats, before: Floats, propensity: Floats, clip: float, level: float) -> Estimate:
    terms: list[Terms] = [snips(outcome.astype(np.float64), t, propensity, clip=clip) for t in (target, before)]
    return terms[0].minus(terms[1], level=level)
