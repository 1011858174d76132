"""Voters as a mixture of types, and campaigns: many votes, by few accounts or by many, that push the same few replies.

Four types explain a voter's votes. *Honest*: up with the consensus' P(up). *Inverted*: up with one minus that.
*Careless*: up with ½. *Campaign*: comes upon its targets more often than the logged policy shows them, and votes on
them its own way. The last is what gives campaigns of throw-away accounts away: one vote cannot show a character, but
the server knows how unlikely it was that this reply was shown to this person at all. Priors are learned per account
size, so that a flood of one-vote accounts makes one-vote accounts suspect and leaves everybody else alone.

What this cannot see: a crowd that votes only where its targets are shown naturally and in natural numbers (it then has
no more say than as many honest people), and hostile voters in the majority.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from learning.core.preference.evidence import Flags, Floats, Ints, Votes
from learning.core.preference.votes import log_bernoulli, total

HONEST, INVERTED, CARELESS, CAMPAIGN = range(4)
TYPES = ("honest", "inverted", "careless", "campaign")


@dataclass(frozen=True)
class MixtureConfig:
    """Priors over types, and how strongly they are held."""

    prior: tuple[float, float, float, float] = (0.94, 0.02, 0.02, 0.02)
    strength: float = 20.0  # voters' worth of prior in each stratum
    strata: tuple[int, ...] = (3, 10, 20)  # account sizes, in votes, that part the strata
    iterations: int = 20
    significance: float = 1e-4  # of overexposure, after Bonferroni over replies


@dataclass(frozen=True)
class Mixture:
    """``posterior`` [voters, 4] over `TYPES`; ``targets`` are the replies that a campaign pushes."""

    posterior: Floats
    targets: Ints


def overexposed(votes: Votes, expected: Floats, *, significance: float = 1e-4) -> Flags:
    """Replies voted on more often than the logged policy can have shown them: [replies].

    ``expected`` [replies] is the sum over the voted inquiries of the policy's probabilities. Poisson tail, Bonferroni
    over replies, and at least half again as many as expected: small misfits of a log are not campaigns.
    """
    seen = np.bincount(votes.reply, minlength=len(expected))
    tail = stats.poisson.sf(seen - 1, np.maximum(expected, 1e-9))
    return np.asarray((tail < significance / len(expected)) & (seen > 1.5 * expected))


def exposure_limit(votes: Votes, expected: Floats) -> Floats:
    """Starting weights [n]: votes on an overexposed reply share what the policy's own showings would have had."""
    seen = np.bincount(votes.reply, minlength=len(expected))
    return np.asarray(np.minimum(1.0, 1.5 * expected / np.maximum(seen, 1))[votes.reply])


def fit_mixture(
    votes: Votes, approval: Floats, targets: Flags, config: MixtureConfig, *, group: Ints | None = None
) -> Mixture:
    """EM over the types of ``group`` (voters unless told: networks, keys); ``approval`` [n] as in `votes`.

    Without ``targets`` [replies] there is no campaign type, so nobody can be taken for a part of one.
    """
    group = votes.voter if group is None else group
    size = np.bincount(group)
    stratum = np.digitize(size, config.strata)
    prior = np.tile(np.log(_prior(config, targets)), (len(config.strata) + 1, 1))
    campaign = _Campaign(votes, targets)
    fixed = _fixed(votes, approval)
    posterior = np.tile(np.exp(prior[0]), (len(size), 1))
    for _ in range(config.iterations):
        likelihood = np.column_stack([fixed, campaign.log_likelihood()])
        posterior = _softmax(np.column_stack([total(group, column) for column in likelihood.T]) + prior[stratum])
        prior = _refit(posterior, stratum, config, targets)
        campaign.refit(posterior[group, CAMPAIGN])
    return Mixture(posterior, np.flatnonzero(targets))


def cap_new_accounts(
    votes: Votes, weights: Floats, *, fewer_than: int = 3, slack: float = 2.0, floor: float = 3.0
) -> Floats:
    """Weights [n] with new accounts' say on each (reply, up or down) held near that of established ones.

    New accounts (fewer than ``fewer_than`` votes) are expected to spread over replies and directions as established
    accounts do. What exceeds ``slack`` times that, plus ``floor`` votes, is shared out: influence is capped, no one is
    silenced. With no established account, every cell is capped at ``floor``.
    """
    new = np.bincount(votes.voter)[votes.voter] < fewer_than
    cell = 2 * votes.reply + (votes.up >= 0.5)
    cells = int(cell.max(initial=0)) + 1
    established = np.bincount(cell[~new], weights=weights[~new], minlength=cells)
    given = np.bincount(cell[new], weights=weights[new], minlength=cells)
    share = established / established.sum() if established.sum() > 0 else established
    allowed = floor + slack * share * given.sum()
    factor = np.minimum(1.0, allowed / np.maximum(given, 1e-12))
    return np.asarray(np.where(new, weights * factor[cell], weights))


def bursts(votes: Votes, *, window: float = 3600.0, significance: float = 1e-4) -> Floats:
    """Weights [n] that share out what comes in bursts: [n] in (0, 1]; all 1 where votes carry no time.

    A burst is more votes of one direction on one reply within ``window`` seconds than a steady stream of that reply's
    votes explains (Poisson tail, Bonferroni). Its votes then weigh together as much as the largest count that would
    not have stood out.
    """
    weights = np.ones(len(votes))
    if votes.time is None or not len(votes):
        return weights
    span = max(float(np.ptp(votes.time)), window)
    cells = 2 * votes.reply + (votes.up >= 0.5)
    level = significance * window / span / max(len(np.unique(cells)), 1)
    for cell in np.unique(cells):
        rows = np.flatnonzero(cells == cell)
        order = rows[np.argsort(votes.time[rows], kind="stable")]
        limit = stats.poisson.isf(level, _steady(votes.time[order], window, span))
        weights[order] = np.minimum(1.0, limit / np.maximum(_within(votes.time[order], window), 1))
    return weights


def near_copies(votes: Votes, pool: Floats, *, fewer_than: int = 3, cosine: float = 0.95, allowed: int = 3) -> Floats:
    """Weights [n]: new accounts with the same vote on the same reply for the same words count ``allowed`` together."""
    weights = np.ones(len(votes))
    new = np.bincount(votes.voter)[votes.voter] < fewer_than
    cells = np.where(new, 2 * votes.reply + (votes.up >= 0.5), -1)
    for cell in np.unique(cells[new]):
        rows = np.flatnonzero(cells == cell)
        x = pool[votes.inquiry[rows]]
        copies = (x @ x.T >= cosine).sum(axis=1)
        weights[rows] = np.minimum(1.0, allowed / copies)
    return weights


class _Campaign:
    """The campaign type's own parameters: how it comes upon its targets (steering, spread), what it says (praise)."""

    def __init__(self, votes: Votes, targets: Flags) -> None:
        replies = len(targets)
        self.votes, self.targets = votes, targets
        self.cell = np.where(targets, np.arange(replies), replies)[votes.reply]  # what is no target shares one rate
        self.steering = 0.5
        self.spread = np.append(targets / max(int(targets.sum()), 1), 0.0)
        self.praise = np.append(np.full(replies, 0.9), 0.3)

    def log_likelihood(self) -> Floats:
        if not self.targets.any():
            return np.full(len(self.votes), -1e9)
        shown = np.log((1 - self.steering) * self.votes.propensity + self.steering * self.spread[self.cell])
        return np.asarray(shown + log_bernoulli(self.votes.up, self.praise[self.cell]))

    def refit(self, responsibility: Floats) -> None:
        """Half a vote of prior in every count, so that no parameter ends on a border."""
        if not self.targets.any():
            return
        pushed = self.steering * self.spread[self.cell]
        pushed = responsibility * pushed / ((1 - self.steering) * self.votes.propensity + pushed)
        self.steering = float(np.clip((pushed.sum() + 0.5) / (responsibility.sum() + 1), 0.05, 0.95))
        counts = np.where(self.targets, self._count(pushed)[:-1] + 0.5, 0.0)
        self.spread = np.append(counts / counts.sum(), 0.0)
        self.praise = (self._count(responsibility * self.votes.up) + 0.5) / (self._count(responsibility) + 1)

    def _count(self, values: Floats) -> Floats:
        return np.asarray(np.bincount(self.cell, weights=values, minlength=len(self.targets) + 1), dtype=np.float64)


def _fixed(votes: Votes, approval: Floats) -> Floats:
    shown = np.log(votes.propensity)
    return np.column_stack(
        [
            shown + log_bernoulli(votes.up, approval),
            shown + log_bernoulli(votes.up, 1 - approval),
            shown + log_bernoulli(votes.up, np.full(len(votes), 0.5)),
        ]
    )


def _prior(config: MixtureConfig, targets: Flags) -> Floats:
    prior = np.array(config.prior)
    if not targets.any():
        prior[CAMPAIGN] = 1e-12
    return np.asarray(prior / prior.sum())


def _refit(posterior: Floats, stratum: Ints, config: MixtureConfig, targets: Flags) -> Floats:
    base = config.strength * _prior(config, targets)
    rows = [posterior[stratum == s].sum(axis=0) + base for s in range(len(config.strata) + 1)]
    return np.asarray(np.log(np.stack([row / row.sum() for row in rows])))


def _softmax(z: Floats) -> Floats:
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(z / z.sum(axis=1, keepdims=True))


def _within(time: Floats, window: float) -> Ints:
    """How many of the sorted ``time`` lie within half a window of each."""
    half = window / 2
    return np.asarray(np.searchsorted(time, time + half, "right") - np.searchsorted(time, time - half, "left"))


def _steady(time: Floats, window: float, span: float) -> float:
    """Votes per window of the stream without its bursts: the median over windows, at least the mean's tenth."""
    counts = np.histogram(time, bins=max(int(span // window), 1))[0]
    return float(max(np.median(counts), 0.1 * counts.mean(), 1e-9))
