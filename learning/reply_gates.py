"""Gates of a reply policy: what it gains by the votes, and what must not get worse while it wins them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from learning.core.preference import guards as checks
from learning.core.preference.offpolicy import Estimate, snips
from learning.core.preference.person import asked
from learning.core.preference.policy import ReplyPolicy
from learning.core.preference.training import Outcome
from learning.gates.result import DEFAULTS, Result, Thresholds
from learning.preferences import Showings

CLIP = 20.0
# A rise that is surely larger stops a policy.
ALLOWED = {"escalation rate": 0.02, "re-ask rate": 0.02}
LONGER = 1.5  # mean length of what is shown, against the policy in service
SHORT = 300.0  # characters: nobody minds that a reply of one sentence became one of two


def judge(
    outcome: Outcome, showings: Showings, reference: ReplyPolicy, lengths: list[int], parity: float,
    thresholds: Thresholds = DEFAULTS, served: ReplyPolicy | None = None,
) -> list[Result]:  # fmt: skip
    """All gates; a policy that fell back to the reference fails the first.

    ``served`` is the learned policy as it would be served, with a person to ask where the project wants one.
    """
    policy = outcome.policy
    found = [
        evidence(outcome), same(parity), *guards(policy, reference, showings), hacking(policy, reference, showings, thresholds),
        length(policy, reference, showings, lengths),
    ]  # fmt: skip
    if served is not None and served.person is not None:
        found.append(person(served, showings, thresholds))
    return found


def hacking(policy: ReplyPolicy, reference: ReplyPolicy, showings: Showings, thresholds: Thresholds) -> Result:
    """No reply may win by pleasing people at first sight and leaving them unhelped."""
    log = checks.Logged(
        showings.x, showings.shown, showings.propensity, showings.logged, showings.rewarded,
        showings.escalated | showings.again,
    )  # fmt: skip
    hacks = checks.winners_that_fail(policy, reference, log, allowed=thresholds.hacking, clip=CLIP)
    said = "; ".join(
        f"reply {showings.replies[h.reply]} wins clicks and thumbs ({_words(h.reward)}) and leaves customers unhelped "
        f"({_words(h.failed)})"
        for h in hacks
    )
    worst = max((h.failed.value for h in hacks), default=None)
    detail = said or "no reply that it raises wins clicks or thumbs and loses customers"
    return Result("reward hacking", not hacks, worst, thresholds.hacking, detail)


def person(served: ReplyPolicy, showings: Showings, thresholds: Thresholds) -> Result:
    """A policy that hands most inquiries to people answers nothing."""
    share = float(asked(served, showings.x, showings.logged > 0).mean())
    return Result(
        "asks a person", share <= thresholds.person_share, share, thresholds.person_share,
        f"of the inquiries that were answered, {share:.1%} would go to a person",
    )  # fmt: skip


def same(parity: float) -> Result:
    """The served policy says what was trained."""
    limit = DEFAULTS.parity
    return Result("parity", parity <= limit, parity, limit, "largest difference of a probability after export")


def evidence(outcome: Outcome) -> Result:
    """Votes of people that trained nothing must prefer it; where they do not, or cannot show it, the learner fell back."""
    gain, why = outcome.gain, outcome.fallback
    detail = why if why is not None or gain is None else f"gain over the policy in service, {_words(gain)}"
    return Result("approval by voters it has not seen", why is None, gain.value if gain else None, 0.0, detail or "")


def guards(policy: ReplyPolicy, reference: ReplyPolicy, showings: Showings) -> list[Result]:
    """Outcomes of all showings, reweighted to either policy (self-normalised, paired)."""
    seen = {"escalation rate": showings.escalated, "re-ask rate": showings.again}
    targets = [_of_shown(p, showings) for p in (policy, reference)]
    found = []
    for name, outcome in seen.items():
        terms = [snips(outcome.astype(np.float64), t, showings.propensity, clip=CLIP) for t in targets]
        rise = terms[0].minus(terms[1])
        found.append(Result(name, not rise.low > ALLOWED[name], rise.value, ALLOWED[name], f"rise, {_words(rise)}"))
    return found


def length(policy: ReplyPolicy, reference: ReplyPolicy, showings: Showings, lengths: list[int]) -> Result:
    """A policy that learned to talk has not learned to answer; what is short on average may grow."""
    eligible, size = showings.logged > 0, np.array(lengths, dtype=np.float64)
    means = [float((p.probabilities(showings.x, eligible) @ size).mean()) for p in (policy, reference)]
    ratio = means[0] / max(means[1], 1e-9)
    return Result(
        "length",
        ratio <= LONGER or means[0] <= SHORT,
        ratio,
        LONGER,
        f"{means[0]:.0f} characters, {means[1]:.0f} in service",
    )


def _of_shown(policy: ReplyPolicy, showings: Showings) -> npt.NDArray[np.float64]:
    p = policy.probabilities(showings.x, showings.logged > 0)
    return np.asarray(np.take_along_axis(p, showings.shown[:, None], axis=1)[:, 0])


def _words(e: Estimate) -> str:
    return f"{e.value:+.3f}, 95 % interval {e.low:+.3f} to {e.high:+.3f}"
