"""Evidence weights for votes: who is believed how far, why, and what that costs each group of voters.

A consensus is fitted to the votes, voters are compared with it, votes are weighed by P(honest voter), and the consensus
is fitted again. Weights are soft and computed afresh from all votes every time: nobody is banned, a voter whose later
votes agree is believed again, and ``pardoned`` voters are believed whatever the statistics say. Every weight below ½
has a sentence with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from learning.core.preference.campaigns import (
    CAMPAIGN,
    CARELESS,
    HONEST,
    INVERTED,
    Mixture,
    MixtureConfig,
    bursts,
    cap_new_accounts,
    exposure_limit,
    fit_mixture,
    near_copies,
    overexposed,
)
from learning.core.preference.evidence import Flags, Floats, Ints, Votes

Consensus = Callable[[Votes, Floats], Floats]
"""(votes, weights) → P(up) of each vote [n] by the weighted votes' own account of what honest voters think."""

REASONS = {
    INVERTED: "votes against what other voters say, time after time",
    CARELESS: "votes as if by the toss of a coin",
    CAMPAIGN: "comes upon the same few replies far more often than they are shown",
}


@dataclass(frozen=True)
class ScreeningConfig:
    """How votes are screened."""

    rounds: int = 3
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    new_account: int = 3  # an account with fewer votes is new
    most_hostile: float = 0.45  # share of weight lost from which nobody can say who is honest
    least_votes: float = 50.0  # weight that must remain
    pardoned: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Screening:
    """``weights`` [n] in [0, 1], the voters' type probabilities [voters, 4], and ``too_dirty`` with its reason or None."""

    weights: Floats
    voters: Mixture
    too_dirty: str | None

    @property
    def lost(self) -> float:
        """Share of all voting weight that was taken away."""
        return float(1 - self.weights.mean()) if len(self.weights) else 0.0

    def dropped(self, group: Sequence[str]) -> dict[str, float]:
        """Share of the weight taken from each group (locale, channel, account age …) of the votes: group [n]."""
        names = np.asarray(group)
        return {str(name): float(1 - self.weights[names == name].mean()) for name in np.unique(names)}

    def reasons(self) -> dict[int, str]:
        """Why each voter who is more likely hostile than honest is so: {voter: sentence}."""
        posterior = self.voters.posterior
        hostile = np.flatnonzero(posterior[:, HONEST] < 0.5)
        kind = posterior[hostile][:, HONEST + 1 :].argmax(axis=1) + HONEST + 1
        return {
            int(v): f"{REASONS[int(k)]} ({1 - posterior[v, HONEST]:.1%} sure)"
            for v, k in zip(hostile, kind, strict=True)
        }


def screen(votes: Votes, expected: Floats, consensus: Consensus, pool: Floats, config: ScreeningConfig) -> Screening:
    """Weigh ``votes``; ``expected`` [replies] as `campaigns.overexposed` takes it, ``pool`` [inquiries, d]."""
    targets = overexposed(votes, expected, significance=config.mixture.significance)
    limits = _limits(votes, pool, config)
    weights = exposure_limit(votes, expected) * limits if targets.any() else limits
    believed = _believed(votes, config)
    weights = np.where(believed, 1.0, weights)
    mixture = Mixture(np.tile(config.mixture.prior, (int(votes.voter.max(initial=-1)) + 1, 1)), np.flatnonzero(targets))
    for _ in range(config.rounds):
        approval = consensus(votes, weights)
        mixture = fit_mixture(votes, approval, targets, config.mixture)
        trust = np.minimum(mixture.posterior[votes.voter, HONEST], _network_trust(votes, approval, targets, config))
        weights = cap_new_accounts(votes, trust * limits, fewer_than=config.new_account)
        weights = np.where(believed, 1.0, weights)
    return Screening(weights, mixture, _too_dirty(weights, config))


def _limits(votes: Votes, pool: Floats, config: ScreeningConfig) -> Floats:
    """What does not depend on the consensus: bursts, and many new accounts with the same words and the same vote."""
    return bursts(votes) * near_copies(votes, pool, fewer_than=config.new_account)


def _network_trust(votes: Votes, approval: Floats, targets: Flags, config: ScreeningConfig) -> Floats:
    if votes.network is None:
        return np.ones(len(votes))
    mixture = fit_mixture(votes, approval, targets, config.mixture, group=votes.network)
    return np.asarray(mixture.posterior[votes.network, HONEST])


def _believed(votes: Votes, config: ScreeningConfig) -> Flags:
    pardoned: Ints = np.array(sorted(config.pardoned), dtype=np.int64)
    trusted = np.zeros(len(votes), dtype=bool) if votes.trusted is None else votes.trusted
    return np.asarray(trusted | np.isin(votes.voter, pardoned))


def _too_dirty(weights: Floats, config: ScreeningConfig) -> str | None:
    left = float(weights.sum())
    if left < config.least_votes:
        return f"Only {left:.0f} votes' worth of evidence is left, of {config.least_votes:.0f} that it takes."
    lost = 1 - left / len(weights)
    if lost > config.most_hostile:
        return f"{lost:.0%} of the votes look hostile: too many to tell who is honest."
    return None
