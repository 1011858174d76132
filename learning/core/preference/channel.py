"""The channel learner: thumbs as a noisy answer to "did this reply meet the need behind the inquiry?".

Each inquiry has one need, each category of the reply catalog meets one. q(category | inquiry) is a softmax, starting
from the reference policy; a reply of category c is praised with probability low + (high_r − low)·q(c | x)
(`losses.channel`). A thumb on one reply thus speaks about all others, and neither praise nor blame is taken at face
value. It is fitted on neighbour-smoothed vectors, so that votes on similar inquiries pool, and then distilled into
scores on the plain embedding, which is all that serving knows: cross-entropy to the fitted q over every known inquiry,
voted on or not (Hinton et al. 2015).

Not for catalogs whose categories overlap in meaning: there the needs would compete for the same praise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from learning.core.preference import losses
from learning.core.preference.evidence import Floats, Replies, Votes
from learning.core.preference.network import directions, minimise
from learning.core.preference.pairs import Pairs
from learning.core.preference.policy import ReplyPolicy


@dataclass(frozen=True)
class ChannelConfig:
    """Priors in units of votes."""

    penalty: float = 0.1  # of the needs' weights: small, because smoothed vectors carry little noise
    reply_penalty: float = 10.0  # of each reply's own praise rate around what its wording predicts
    iterations: int = 60
    sharpen: float = 1.5  # power of the fitted q in distillation; the plain vectors' scores come out blunter
    distil_penalty: float = 0.1
    distil_iterations: int = 60


@dataclass(frozen=True)
class Channel:
    """A fitted channel: log q [inquiries, C] of every pool row, ``low``, and ``high`` [R]."""

    log_needs: Floats
    low: float
    high: Floats
    category: np.ndarray

    def approval(self, votes: Votes) -> Floats:
        """P(up) of each vote [n] were its voter honest."""
        q = np.exp(self.log_needs[votes.inquiry, self.category[votes.reply]])
        return np.asarray(self.low + (self.high[votes.reply] - self.low) * q)

    def expected(self) -> Floats:
        """P(up) of every reply on every inquiry of the pool [inquiries, R]."""
        return np.asarray(self.low + (self.high - self.low) * np.exp(self.log_needs[:, self.category]))


def fit_channel(
    votes: Votes,
    weights: Floats,
    smooth: Floats,
    replies: Replies,
    reference: ReplyPolicy,
    config: ChannelConfig,
    comparisons: Pairs | None = None,
) -> Channel:
    """Maximum a posteriori by L-BFGS; ``smooth`` [inquiries, d] as `neighbours.smoothed` gives it.

    ``comparisons`` are what people said of two replies to one inquiry of the pool.
    """
    x, base = _centred(smooth), _tensor(grouped(reference, replies).scores(smooth))
    needs, rates = _Needs(x.shape[1], replies.categories), _Rates(replies)
    inquiry, reply = torch.as_tensor(votes.inquiry), torch.as_tensor(votes.reply)
    category, up, w = torch.as_tensor(replies.category)[reply], _tensor(votes.up), _tensor(weights)
    rows, start = x[inquiry], base[inquiry]

    compared = None if comparisons is None or not len(comparisons) else _Compared(comparisons, x, base, replies)

    def objective() -> Tensor:
        answered = needs.log_softmax(rows, start).gather(1, category[:, None])[:, 0]
        low, high = rates.low(), rates.high()
        fit = (w * losses.channel(answered, up, low=low, high=high[reply])).sum()
        if compared is not None:
            fit = fit + compared(needs, low, high)
        return fit + needs.penalty(config.penalty) + rates.penalty(config.reply_penalty)

    minimise(objective, [*needs.parameters(), *rates.parameters()], iterations=config.iterations)
    with torch.no_grad():
        log_needs = needs.log_softmax(x, base).numpy().astype(np.float64)
        return Channel(log_needs, float(rates.low()), rates.high().numpy().astype(np.float64), replies.category)


def distil(
    channel: Channel, pool: Floats, replies: Replies, reference: ReplyPolicy, config: ChannelConfig
) -> ReplyPolicy:
    """A linear policy on plain embeddings ``pool`` [inquiries, d] whose order of replies is the channel's.

    score_r(x) = need score of r's category + log(high_r − low).
    """
    x, base = _centred(pool), _tensor(grouped(reference, replies).scores(pool))
    target = functional.softmax(_tensor(channel.log_needs) * config.sharpen, dim=1)
    needs = _Needs(x.shape[1], replies.categories)

    def objective() -> Tensor:
        return -(target * needs.log_softmax(x, base)).sum() + needs.penalty(config.distil_penalty)

    minimise(objective, needs.parameters(), iterations=config.distil_iterations)
    gain = np.log(np.maximum(channel.high - channel.low, 1e-6))
    return needs.policy(grouped(reference, replies), pool.mean(axis=0), replies, gain)


def grouped(policy: ReplyPolicy, replies: Replies) -> ReplyPolicy:
    """``policy`` over categories: each score is the mean of its replies' scores."""
    share = np.eye(replies.categories)[replies.category]
    share = share / share.sum(axis=0)
    hidden = None if policy.hidden is None else replace(policy.hidden, outward=policy.hidden.outward @ share)
    return replace(policy, weights=policy.weights @ share, bias=policy.bias @ share, hidden=hidden, person=None)


class _Compared:
    """The loss of comparisons under a channel."""

    def __init__(self, pairs: Pairs, x: Tensor, base: Tensor, replies: Replies) -> None:
        inquiry = torch.as_tensor(pairs.inquiry)
        self.rows, self.start, self.weight = x[inquiry], base[inquiry], _tensor(pairs.weight)
        self.sides = [torch.as_tensor(side) for side in (pairs.chosen, pairs.rejected)]
        self.category = torch.as_tensor(replies.category)

    def __call__(self, needs: _Needs, low: Tensor, high: Tensor) -> Tensor:
        q = needs.log_softmax(self.rows, self.start).exp()
        p = [low + (high[side] - low) * q.gather(1, self.category[side][:, None])[:, 0] for side in self.sides]
        return (self.weight * losses.compared(p[0], p[1])).sum()


class _Needs(torch.nn.Module):
    """log q(category | x) = log softmax(scale·reference + x·W + b)."""

    def __init__(self, d: int, categories: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.weight = torch.nn.Parameter(torch.zeros(d, categories))
        self.bias = torch.nn.Parameter(torch.zeros(categories))

    def log_softmax(self, x: Tensor, base: Tensor) -> Tensor:
        return functional.log_softmax(self.scale * base + x @ self.weight + self.bias, dim=1)

    def penalty(self, strength: float) -> Tensor:
        return strength / 2 * (self.weight.square().sum() + self.bias.square().sum()) + (self.scale - 1).square() / 2

    def policy(self, base: ReplyPolicy, centre: Floats, replies: Replies, gain: Floats) -> ReplyPolicy:
        scale, weight = float(self.scale.detach()), self.weight.detach().numpy().astype(np.float64)
        bias = self.bias.detach().numpy() - centre @ weight
        columns, hidden = replies.category, base.hidden
        return replace(
            base,
            weights=(scale * base.weights + weight)[:, columns].astype(np.float32),
            bias=((scale * base.bias + bias)[columns] + gain).astype(np.float32),
            hidden=None if hidden is None else replace(hidden, outward=scale * hidden.outward[:, columns]),
        )


class _Rates(torch.nn.Module):
    """Praise rates: ``low`` for a miss, ``high`` [R] for a hit, predicted from the reply's wording.

    Weak Beta priors (1 in 10 praised for a miss; a hit not certain of praise) keep both off the borders while votes
    are few: at high = 1 one thumb down would prove a miss.
    """

    def __init__(self, replies: Replies) -> None:
        super().__init__()
        self.vectors = torch.as_tensor(directions(replies.vectors), dtype=torch.float32)
        self.miss = torch.nn.Parameter(torch.tensor(-2.2))
        self.hit = torch.nn.Parameter(torch.tensor(1.0))
        self.wording = torch.nn.Parameter(torch.zeros(self.vectors.shape[1]))
        self.own = torch.nn.Parameter(torch.zeros(len(replies)))

    def low(self) -> Tensor:
        return torch.sigmoid(self.miss)

    def high(self) -> Tensor:
        low = self.low()
        return low + (1 - low) * torch.sigmoid(self._logits())

    def penalty(self, own: float) -> Tensor:
        logits = self._logits()
        beta = 2 * (functional.softplus(-self.miss) + 9 * functional.softplus(self.miss))
        beta = beta + 20 * functional.softplus(logits).mean() + 20 * functional.softplus(-logits).mean()
        return beta + (self.wording.square().sum() + own * self.own.square().sum()) / 2

    def _logits(self) -> Tensor:
        return self.hit + self.vectors @ self.wording + self.own


def _centred(x: Floats) -> Tensor:
    return _tensor(x - x.mean(axis=0))


def _tensor(values: Floats) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float32))
