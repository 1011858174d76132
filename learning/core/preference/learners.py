"""Every learner by name: weighted votes in, a reply policy out, each one a correction to the reference policy.

`LEARNERS` maps names to functions of (Evidence, LearnerConfig). All of them see the same votes and weights, none sees
more. "channel" is the default because it measured best (docs/preferences.md); the others are kept for comparison and
for catalogs that break its assumptions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from learning.core.preference import losses
from learning.core.preference.channel import Channel, ChannelConfig, distil, fit_channel
from learning.core.preference.evidence import Floats, Replies, Votes
from learning.core.preference.neighbours import smoothed
from learning.core.preference.network import Correction, minimise
from learning.core.preference.pairs import PairConfig, Pairs, pairs_from_votes
from learning.core.preference.policy import ReplyPolicy, draw

DEFAULT = "channel"


@dataclass(frozen=True)
class LearnerConfig:
    """One set of knobs for all learners, so that a comparison compares losses and nothing else."""

    beta: float = 0.3  # how far the implicit reward may leave the reference: smaller moves further
    kto_beta: float = 1.0  # KTO saturates in single votes, not in differences: it wants a larger one
    ipo_beta: float = 0.25  # IPO's τ: the target margin is 1/(2τ)
    penalty_shared: float = 0.1  # prior on the bilinear part, in votes
    penalty_own: float = 0.1  # prior on each reply's own vector, in votes
    flip_rate: float = 0.1  # share of wrong labels that cDPO and rDPO assume
    clip: float = 10.0  # largest importance ratio of the inverse-propensity learner
    hidden: int = 0  # width of the MLP part; 0 is bilinear
    iterations: int = 40
    rlhf_rounds: int = 20
    rlhf_kl: float = 0.2
    rlhf_clip: float = 0.2
    pairs: PairConfig = field(default_factory=PairConfig)
    channel: ChannelConfig = field(default_factory=ChannelConfig)
    seed: int = 0


@dataclass(frozen=True)
class Evidence:
    """What a learner may know: the pool's embeddings, the candidates, weighted votes, and the policy in service.

    ``comparisons`` are pairs that people made directly (A/B tasks, agents' replacements); pairwise learners add them to
    those built from votes. ``smooth`` may be passed where the pool was smoothed before. ``logged`` [inquiries, R] are
    the probabilities with which replies were shown, 0 where one was not eligible; without them the reference is taken
    for what showed replies, and every reply for eligible.
    """

    pool: Floats
    replies: Replies
    votes: Votes
    weights: Floats
    reference: ReplyPolicy
    comparisons: Pairs | None = None
    smooth: Floats | None = None
    logged: Floats | None = None

    @cached_property
    def smoothed(self) -> Floats:
        """The pool averaged over neighbours."""
        return smoothed(self.pool) if self.smooth is None else self.smooth

    def channel(self, config: ChannelConfig) -> Channel:
        """The channel fitted to these votes, once per config: the policy is distilled from it and also judged by it."""
        if config not in self._channels:
            self._channels[config] = fit_channel(
                self.votes, self.weights, self.smoothed, self.replies, self.reference.folded(), config, self.comparisons
            )
        return self._channels[config]

    @cached_property
    def _channels(self) -> dict[ChannelConfig, Channel]:
        return {}

    def pairs(self, config: PairConfig) -> Pairs:
        """Comparisons from votes on same-meaning inquiries, and those made directly."""
        made = pairs_from_votes(self.votes, self.weights, self.pool, config)
        return made if self.comparisons is None else made + self.comparisons


Learner = Callable[[Evidence, LearnerConfig], ReplyPolicy]
PairLoss = Callable[[Tensor, LearnerConfig], Tensor]


def learn(name: str, evidence: Evidence, config: LearnerConfig | None = None) -> ReplyPolicy:
    """Train learner ``name``; without any vote of positive weight the reference comes back. Raises KeyError."""
    learner = LEARNERS[name]
    if not evidence.weights.sum() > 0 and evidence.comparisons is None:
        return evidence.reference
    return learner(evidence, config or LearnerConfig())


def learn_channel(evidence: Evidence, config: LearnerConfig) -> ReplyPolicy:
    """The channel learner, distilled into a linear policy."""
    reference, fitted = evidence.reference.folded(), evidence.channel(config.channel)
    return distil(fitted, evidence.pool, evidence.replies, reference, config.channel)


def pairwise(loss: PairLoss, *, anchored: bool = True) -> Learner:
    """A learner on comparisons; ``loss`` takes margins of log π/π_ref (the softmax's normaliser cancels in them).

    Not ``anchored``, the learned part alone is the score: a reward model, used greedily.
    """

    def learner(evidence: Evidence, config: LearnerConfig) -> ReplyPolicy:
        pairs = evidence.pairs(config.pairs)
        correction = _correction(evidence, config)
        asked, row = np.unique(pairs.inquiry, return_inverse=True)
        x, rows = _tensor(evidence.pool[asked] - correction.centre), torch.as_tensor(row)
        chosen, rejected, weight = torch.as_tensor(pairs.chosen), torch.as_tensor(pairs.rejected), _tensor(pairs.weight)

        def objective() -> Tensor:
            margins = correction.difference(x, rows, chosen, rejected)
            return (weight * loss(margins, config)).sum() + _penalty(correction, config)

        minimise(objective, correction.parameters(), iterations=config.iterations)
        return correction.policy(evidence.reference.folded() if anchored else _blank(evidence.reference))

    return learner


def votewise(loss: Callable[[_Batch, LearnerConfig], Tensor]) -> Learner:
    """A learner on single votes; ``loss`` takes the log-probabilities of policy and reference."""

    def learner(evidence: Evidence, config: LearnerConfig) -> ReplyPolicy:
        votes, reference = evidence.votes, evidence.reference.folded()
        correction = _correction(evidence, config)
        rows = evidence.pool[votes.inquiry]
        x, base = _tensor(rows - correction.centre), _tensor(reference.scores(rows))
        reply = torch.as_tensor(votes.reply)
        both = torch.stack([reply, reply.roll(1)], dim=1)  # and the next vote's reply: KTO's mismatched pair
        ref = losses.log_policy(base).gather(1, both)
        fixed = {
            "ref": ref[:, 0],
            "other_ref": ref[:, 1],
            "up": _tensor(votes.up),
            "weight": _tensor(evidence.weights),
            "propensity": _tensor(votes.propensity),
        }
        offset, slope = torch.zeros((), requires_grad=True), torch.ones((), requires_grad=True)

        def objective() -> Tensor:
            logp = losses.log_policy(base + correction.everywhere(x)).gather(1, both)
            batch = _Batch(logp=logp[:, 0], other_logp=logp[:, 1], offset=offset, slope=slope, **fixed)
            return (batch.weight * loss(batch, config)).sum() + _penalty(correction, config)

        minimise(objective, [*correction.parameters(), offset, slope], iterations=config.iterations)
        return correction.policy(reference)

    return learner


def learn_rlhf(evidence: Evidence, config: LearnerConfig) -> ReplyPolicy:
    """The three-step route: a Bradley–Terry reward model, then PPO against it with KL to the reference (the SFT step
    is the reference itself). Rewards are exact per reply here, so the advantage's baseline is the policy's own mean."""
    rng = np.random.default_rng(config.seed)
    reward_model = pairwise(_bradley_terry, anchored=False)(evidence, config)
    reference, correction = evidence.reference.folded(), _correction(evidence, config)
    optimiser = torch.optim.Adam(correction.parameters(), lr=0.02)
    for _ in range(config.rlhf_rounds):
        rows = evidence.pool[rng.integers(0, len(evidence.pool), 1024)]
        x, base = _tensor(rows - correction.centre), _tensor(reference.scores(rows))
        reward, ref = _tensor(reward_model.scores(rows)), losses.log_policy(base)
        _ppo_round(correction, optimiser, _Rollout(x, base, ref, reward), config, rng)
    return correction.policy(reference)


@dataclass(frozen=True)
class _Rollout:
    x: Tensor
    base: Tensor
    ref: Tensor
    reward: Tensor


def _ppo_round(
    correction: Correction,
    optimiser: torch.optim.Optimizer,
    rollout: _Rollout,
    config: LearnerConfig,
    rng: np.random.Generator,
) -> None:
    with torch.no_grad():
        old = losses.log_policy(rollout.base + correction.everywhere(rollout.x))
    reply = torch.as_tensor(draw(old.exp().numpy().astype(np.float64), rng)[0])[:, None]
    advantage = rollout.reward.gather(1, reply)[:, 0] - (old.exp() * rollout.reward).sum(dim=1)
    for _ in range(4):
        optimiser.zero_grad()
        new = losses.log_policy(rollout.base + correction.everywhere(rollout.x))
        gain = losses.ppo(new.gather(1, reply)[:, 0], old.gather(1, reply)[:, 0], advantage, clip=config.rlhf_clip)
        loss = (gain + config.rlhf_kl * losses.kl(new, rollout.ref)).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


@dataclass(frozen=True)
class _Batch:
    logp: Tensor
    ref: Tensor
    other_logp: Tensor
    other_ref: Tensor
    up: Tensor
    weight: Tensor
    propensity: Tensor
    offset: Tensor
    slope: Tensor


def _dpo(margins: Tensor, c: LearnerConfig) -> Tensor:
    return losses.dpo(margins, beta=c.beta)


def _ipo(margins: Tensor, c: LearnerConfig) -> Tensor:
    # Scaled so that its curvature at the reference is DPO's: priors in votes then weigh the same against both.
    return losses.ipo(margins, beta=c.ipo_beta) * c.beta**2 / 8


def _conservative(margins: Tensor, c: LearnerConfig) -> Tensor:
    return losses.conservative_dpo(margins, beta=c.beta, flip_rate=c.flip_rate)


def _robust(margins: Tensor, c: LearnerConfig) -> Tensor:
    return losses.robust_dpo(margins, beta=c.beta, flip_rate=c.flip_rate)


def _bradley_terry(margins: Tensor, c: LearnerConfig) -> Tensor:
    return losses.bradley_terry(margins, torch.zeros_like(margins))


def _sft(batch: _Batch, c: LearnerConfig) -> Tensor:
    return batch.up * losses.sft(batch.logp)


def _kto(batch: _Batch, c: LearnerConfig) -> Tensor:
    liked = batch.up >= 0.5
    # Few thumbs are up: weighted to balance, as the paper advises, or the policy learns mostly what to avoid.
    balance = float((batch.weight * ~liked).sum() / (batch.weight * liked).sum().clamp_min(1e-9))
    baseline = losses.kto_baseline(batch.other_logp, batch.other_ref)
    ratios = batch.logp - batch.ref
    return losses.kto(ratios, liked, baseline, beta=c.kto_beta, liked_weight=min(balance, 4.0))


def _inverse_propensity(batch: _Batch, c: LearnerConfig) -> Tensor:
    centre = (batch.weight * batch.up).sum() / batch.weight.sum()
    return losses.inverse_propensity(batch.logp, batch.up - centre, batch.propensity, clip=c.clip)


def _binary(batch: _Batch, c: LearnerConfig) -> Tensor:
    return losses.binary(batch.slope * batch.logp + batch.offset, batch.up)


def _correction(evidence: Evidence, config: LearnerConfig) -> Correction:
    rng = np.random.default_rng(config.seed)
    return Correction(evidence.replies.vectors, evidence.pool.mean(axis=0), hidden=config.hidden, rng=rng)


def _penalty(correction: Correction, config: LearnerConfig) -> Tensor:
    return correction.penalty(shared=config.penalty_shared, own=config.penalty_own)


def _blank(policy: ReplyPolicy) -> ReplyPolicy:
    return ReplyPolicy(np.zeros_like(policy.weights), np.zeros_like(policy.bias), person=policy.person)


def _tensor(values: Floats) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float32))


LEARNERS: dict[str, Learner] = {
    "channel": learn_channel,
    "dpo": pairwise(_dpo),
    "ipo": pairwise(_ipo),
    "cdpo": pairwise(_conservative),
    "rdpo": pairwise(_robust),
    "reward": pairwise(_bradley_terry, anchored=False),
    "sft": votewise(_sft),
    "kto": votewise(_kto),
    "ips": votewise(_inverse_propensity),
    "rluf": votewise(_binary),
    "rlhf": learn_rlhf,
}
