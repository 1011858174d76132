"""From raw votes to a policy that may be served, or to the sentence why the reference stays.

Screen the votes, learn from what is left, and let the result prove itself on voters it has not seen: a policy learned
from four fifths of the voters must beat the reference on the last fifth by the doubly robust estimate, interval and
all. Where the evidence is too dirty, too thin or does not speak for the new policy, the reference policy comes back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from learning.core.preference.channel import Channel
from learning.core.preference.evidence import Floats, Votes
from learning.core.preference.learners import DEFAULT, Evidence, LearnerConfig, learn
from learning.core.preference.offpolicy import Estimate, doubly_robust
from learning.core.preference.policy import ReplyPolicy
from learning.core.preference.screening import Screening, ScreeningConfig, screen


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the outcome besides the evidence."""

    learner: str = DEFAULT
    learning: LearnerConfig = field(default_factory=LearnerConfig)
    screening: ScreeningConfig = field(default_factory=ScreeningConfig)
    judged_share: float = 0.2  # of voters, kept from the policy that is put to the proof
    clip: float = 20.0  # largest importance ratio in that proof
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """``policy`` is the reference where ``fallback`` gives a reason; ``gain`` is P(up) over the reference's, on votes.

    ``approval`` [inquiries, R] is the expected P(up) of each reply on each inquiry of the pool, None after a fallback.
    """

    policy: ReplyPolicy
    screening: Screening
    gain: Estimate | None
    fallback: str | None
    approval: Floats | None = None


def train_reply_policy(evidence: Evidence, config: TrainingConfig | None = None) -> Outcome:
    """The whole path; ``evidence.weights`` [n] are what is known before screening (1 each, or capped by age)."""
    config = config or TrainingConfig()
    screening = screen_evidence(evidence, config)
    if screening.too_dirty:
        return Outcome(evidence.reference, screening, None, screening.too_dirty)
    screened = replace(evidence, weights=evidence.weights * screening.weights)
    gain = proof(screened, config)
    if gain is None:
        return Outcome(evidence.reference, screening, None, "Too few voters to put a new policy to the proof.")
    if not gain.low > 0:
        reason = (
            f"On unseen voters its gain over the reference is {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})."
        )
        return Outcome(evidence.reference, screening, gain, reason)
    learned = learn(config.learner, screened, config.learning)
    return Outcome(learned, screening, gain, None, screened.channel(config.learning.channel).expected())


def screen_evidence(evidence: Evidence, config: TrainingConfig) -> Screening:
    """Weights for the votes, by the channel's consensus and the reference's own account of what it shows."""

    def consensus(votes: Votes, weights: Floats) -> Floats:
        weighed = replace(evidence, votes=votes, weights=evidence.weights * weights)
        return weighed.channel(config.learning.channel).approval(votes)

    shown = evidence.reference.probabilities(evidence.pool) if evidence.logged is None else evidence.logged
    expected = np.bincount(evidence.votes.inquiry, minlength=len(shown)) @ shown
    return screen(evidence.votes, expected, consensus, evidence.pool, config.screening)


def proof(evidence: Evidence, config: TrainingConfig) -> Estimate | None:
    """Gain in P(up) over the reference on voters that the judged policy and the model have not seen; None for too few."""
    rng = np.random.default_rng(config.seed)
    voters = int(evidence.votes.voter.max(initial=-1)) + 1
    judged = (rng.random(voters) < config.judged_share)[evidence.votes.voter]
    learned = replace(evidence, votes=evidence.votes.take(~judged), weights=evidence.weights[~judged])
    if min(learned.weights.sum(), evidence.weights[judged].sum()) < 10:
        return None
    policy = learn(config.learner, learned, config.learning)
    model = learned.channel(config.learning.channel)
    votes, weights = evidence.votes.take(judged), evidence.weights[judged]
    return _gain(policy, evidence, votes, weights, model, config)


def _gain(
    policy: ReplyPolicy, evidence: Evidence, votes: Votes, weights: Floats, model: Channel, config: TrainingConfig
) -> Estimate:
    x, predicted = evidence.pool[votes.inquiry], model.approval(votes)
    expected = model.expected()[votes.inquiry]
    eligible = None if evidence.logged is None else evidence.logged[votes.inquiry] > 0
    terms = []
    for candidate in (policy, evidence.reference):
        p = candidate.probabilities(x, eligible)
        target = np.take_along_axis(p, votes.reply[:, None], axis=1)[:, 0]
        value = (p * expected).sum(axis=1)
        terms.append(
            doubly_robust(
                votes.up,
                target,
                votes.propensity,
                predicted=predicted,
                model_value=value,
                weights=weights,
                clip=config.clip,
            )
        )
    return terms[0].minus(terms[1])
