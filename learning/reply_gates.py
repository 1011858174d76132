"""Gates of a reply policy: what it gains by the votes, and what must not get worse while it wins them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from learning.core.preference.offpolicy import Estimate, snips
from learning.core.preference.policy import ReplyPolicy
from learning.core.preference.training import Outcome
from learning.gates.result import Result
from learning.preferences import Showings

CLIP = 20.0
# A rise that is surely larger stops a policy.
ALLOWED = {"escalation rate": 0.02, "re-ask rate": 0.02}
LONGER = 1.5  # mean length of what is shown, against the policy in service
SHORT = 300.0  # characters: nobody minds that a reply of one sentence became one of two


def judge(
    outcome: Outcome, showings: Showings, reference: ReplyPolicy, lengths: list[int], parity: float
) -> list[Result]:
    """All gates; a policy that fell back to the reference fails the first."""
    return [evidence(outcome), Result("parity", parity <= 1e-5, parity, 1e-5, "largest difference of a probability after export"),
            *guards(outcome.policy, reference, showings), length(outcome.policy, reference, showings, lengths)]  # fmt: skip


def evidence(outcome: Outcome) -> Result:
    gain = None if outcome.gain is None else outcome.gain.value
    if outcome.fallback is not None:
        return Result("approval by voters it has not seen", False, gain, 0.0, outcome.fallback)
    assert outcome.gain is not None
    return Result(
        "approval by voters it has not seen",
        True,
        gain,
        0.0,
        f"gain over the policy in service, {_words(outcome.gain)}",
    )


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
