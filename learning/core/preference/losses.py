"""Preference losses in log space, one value per example; `mean` joins them with evidence weights.

Every argument called ``*_logp`` is a log-probability of a whole reply, log π(reply | inquiry), of shape [n]; log-ratios
are taken against the reference policy, whose log-probabilities carry no gradient. Nothing here exponentiates a
log-probability before it is compared, so that scores of ±1e4 stay finite. Losses return [n]; they raise nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def mean(losses: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weighted mean of ``losses`` [n]; a total weight of zero gives 0, not NaN, so an empty batch moves nothing."""
    if weights is None:
        return losses.mean()
    return (weights * losses).sum() / weights.sum().clamp_min(torch.finfo(losses.dtype).tiny)


def log_policy(scores: Tensor, eligible: Tensor | None = None) -> Tensor:
    """log softmax of ``scores`` [n, replies]; an ineligible reply has log-probability −inf and no gradient."""
    masked = scores if eligible is None else scores.masked_fill(~eligible, -torch.inf)
    return functional.log_softmax(masked, dim=-1)


def sft(logp: Tensor) -> Tensor:
    """Negative log-likelihood of replies that people liked (supervised fine-tuning)."""
    return -logp


def margin(chosen_logp: Tensor, rejected_logp: Tensor, ref_chosen_logp: Tensor, ref_rejected_logp: Tensor) -> Tensor:
    """The implicit reward margin over β: log π(w)/π_ref(w) − log π(l)/π_ref(l)."""
    return (chosen_logp - rejected_logp) - (ref_chosen_logp - ref_rejected_logp)


def dpo(margins: Tensor, *, beta: float) -> Tensor:
    """−log σ(β·margin): DPO (Rafailov et al. 2023, eq. 7); ln 2 where the policy still is the reference."""
    return -functional.logsigmoid(beta * margins)


def conservative_dpo(margins: Tensor, *, beta: float, flip_rate: float) -> Tensor:
    """Cross-entropy against a label that is wrong with probability ``flip_rate`` (cDPO, Mitchell 2023).

    Biased towards indifference: it stops at the margin whose σ equals 1 − ``flip_rate``.
    """
    return (1 - flip_rate) * dpo(margins, beta=beta) + flip_rate * dpo(-margins, beta=beta)


def robust_dpo(margins: Tensor, *, beta: float, flip_rate: float) -> Tensor:
    """The unbiased estimate of the clean DPO loss under flips (rDPO, Chowdhury et al. 2024, eq. 12); flip_rate < ½.

    Unbounded below where the margin is very negative, so it wants regularised scores.
    """
    clean, flipped = dpo(margins, beta=beta), dpo(-margins, beta=beta)
    return ((1 - flip_rate) * clean - flip_rate * flipped) / (1 - 2 * flip_rate)


def ipo(margins: Tensor, *, beta: float) -> Tensor:
    """(margin − 1/(2β))²: IPO (Azar et al. 2023, eq. 17, β its τ); bounded preference even without noise."""
    return torch.square(margins - 1 / (2 * beta))


def kto_baseline(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """KTO's reference point z₀: the mean log-ratio of mismatched replies, at least 0, without gradient (§4.1)."""
    return (logp - ref_logp).mean().detach().clamp_min(0)


def kto(
    log_ratios: Tensor,
    liked: Tensor,
    baseline: Tensor,
    *,
    beta: float,
    liked_weight: float = 1,
    disliked_weight: float = 1,
) -> Tensor:
    """λ − value of each vote: KTO (Ethayarajh et al. 2024, eq. 8), with the value's λ taken off as a constant.

    ``log_ratios`` [n] are log π/π_ref, ``liked`` [n] is boolean.
    """
    gain = torch.where(liked, log_ratios - baseline, baseline - log_ratios)
    scale = torch.where(liked, liked_weight, disliked_weight).to(log_ratios.dtype)
    return scale * torch.sigmoid(-beta * gain)


def bradley_terry(chosen_reward: Tensor, rejected_reward: Tensor) -> Tensor:
    """−log P(chosen beats rejected) under a reward model (Bradley & Terry 1952)."""
    return -functional.logsigmoid(chosen_reward - rejected_reward)


def binary(logits: Tensor, up: Tensor) -> Tensor:
    """Cross-entropy of thumbs with P(up) = σ(logit): RLUF's binary objective (Han et al. 2025, their P[Love]).

    ``up`` [n] may be fractional (a rating scaled to [0, 1]).
    """
    return functional.binary_cross_entropy_with_logits(logits, up, reduction="none")


def channel(answered_logp: Tensor, up: Tensor, *, low: Tensor, high: Tensor) -> Tensor:
    """Cross-entropy of thumbs with P(up) = low + (high − low)·q: the binary objective behind a noisy channel.

    q = exp(``answered_logp``) is the probability that the reply answers what was asked. ``low`` is how often people
    praise a reply that misses, ``high`` [n] how often they praise one that fits: neither has to be 0 or 1, so one vote
    never proves anything, and replies compete for each inquiry, which independent logits do not.
    """
    p = low + (high - low) * answered_logp.exp()
    return functional.binary_cross_entropy(p.clamp(1e-6, 1 - 1e-6), up, reduction="none")


def compared(chosen: Tensor, rejected: Tensor) -> Tensor:
    """−log P(chosen beats rejected) of two replies whose praise has the probabilities ``chosen`` and ``rejected`` [n].

    Bradley–Terry on their log-odds: the odds of praise are a reply's strength, so that votes and comparisons speak of
    one and the same quantity.
    """
    a, b = (torch.logit(p.clamp(1e-6, 1 - 1e-6)) for p in (chosen, rejected))
    return bradley_terry(a, b)


def inverse_propensity(logp: Tensor, reward: Tensor, propensity: Tensor, *, clip: float) -> Tensor:
    """−reward·π/propensity with the importance ratio clipped (Horvitz & Thompson 1952; clipping of Ionides 2008).

    Rewards should be centred: with raw ones the policy runs to whatever was logged (propensity overfitting).
    """
    return -reward * (logp.exp() / propensity).clamp_max(clip)


def ppo(logp: Tensor, old_logp: Tensor, advantage: Tensor, *, clip: float) -> Tensor:
    """The clipped surrogate (Schulman et al. 2017, eq. 7), negated: no gain beyond a ratio of 1 ± ``clip``."""
    ratio = (logp - old_logp).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def kl(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """KL(π ‖ π_ref) per inquiry, exactly, over all replies: [n, replies] → [n]. Ineligible replies count 0."""
    shown = torch.isfinite(logp)
    # Both masked before, not after: 0·(−inf − −inf) is NaN, and so is its gradient through any later mask.
    gap = logp.masked_fill(~shown, 0) - ref_logp.masked_fill(~shown, 0)
    return (logp.exp() * gap).sum(dim=-1)
