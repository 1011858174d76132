"""A network that learns one experience after another, with whatever is to keep it from forgetting.

The loss of an experience is L_train + λ·L_feedback + what is replayed + penalties:

- L_train: weighted cross-entropy of resolved labels;
- L_feedback: the same over answers that customers judged, w = min(max(f, 0), 1); λ says how much these count;
- replay: kept items of the past join the experience's own, each standing for those of its label that were not kept; DER++
  (Buzzega et al. 2020, arXiv:2004.07211) also asks for the scores that the network gave them then;
- penalties: EWC, LwF (learning/core/continual/penalties.py).

Minibatches by Adam in float32; order and initial weights follow a seed, so a run repeats exactly on CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from learning.core.continual.buffers import POLICIES, Buffer
from learning.core.continual.networks import build
from learning.core.continual.penalties import Ewc, Lwf

Matrix = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Fetch = Callable[[Ints], npt.ArrayLike]


@dataclass(frozen=True)
class Options:
    """What a continual learner is; every field enters the run record."""

    network: str = "linear"
    epochs: int = 40
    rate: float = 0.01
    batch: int = 128
    decay: float = 1e-4  # L2 on all weights
    feedback: float = 0.5  # λ of L_feedback
    ewc: float = 0.0  # λ of EWC; 0 switches it off
    ewc_gamma: float | None = None  # online EWC
    ewc_empirical: bool = False  # the Fisher of the labels as they are, one pass; else the expectation over answers
    lwf: float = 0.0
    buffer: str = "herding"
    capacity: int = 0  # items kept for replay; 0 switches it off
    der: float = 0.0  # DER++: weight of the stored scores
    seed: int = 0


@dataclass(frozen=True)
class Experience:
    """New items: references, embeddings [n, d], labels, weights [n]; ``feedback`` is (x, y, w) of judged answers."""

    items: Ints
    x: npt.ArrayLike
    y: Ints
    weights: npt.ArrayLike | None = None
    feedback: tuple[npt.ArrayLike, Ints, npt.ArrayLike] | None = None


@dataclass(frozen=True)
class _Rows:
    x: Tensor
    y: Tensor
    w: Tensor
    scores: Tensor  # what the network said when the item was kept; NaN where it was not

    def take(self, at: Tensor) -> _Rows:
        return _Rows(self.x[at], self.y[at], self.w[at], self.scores[at])


@dataclass
class ContinualLearner:
    """``fetch`` gives the embeddings [n, d] of kept items by reference; ``report`` is told the share of the epochs done."""

    dimension: int
    classes: int
    options: Options
    fetch: Fetch
    report: Callable[[float], None] = field(default=lambda share: None, repr=False)
    _scores: dict[int, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        o = self.options
        self.net = build(o.network, self.dimension, self.classes, o.seed)
        self.rng = np.random.default_rng(o.seed)
        self.buffer: Buffer | None = POLICIES[o.buffer](o.capacity) if o.capacity else None
        self.ewc = Ewc(o.ewc, gamma=o.ewc_gamma, empirical=o.ewc_empirical) if o.ewc else None
        self.lwf = Lwf(o.lwf) if o.lwf else None

    def learn(self, experience: Experience) -> None:
        """One experience, then what is to be kept of it."""
        rows = self._rows(experience)
        new = len(experience.y)
        self._train(rows, new)
        if self.ewc:
            self.ewc.remember(self.net, rows.x[:new], rows.y[:new], rows.w[:new])
        if self.lwf:
            self.lwf.remember(self.net, rows.y[:new])
        if self.buffer is not None:
            self.buffer.offer(experience.items, experience.y, np.asarray(experience.x, dtype=np.float64), self.rng)
            self._keep_scores()

    def scores(self, x: npt.ArrayLike) -> Matrix:
        """[n, K] before the softmax."""
        with torch.no_grad():
            return np.asarray(self.net(_tensor(x)).numpy(), dtype=np.float64)

    def forget(self, items: Iterable[int]) -> int:
        """Remove items from what is replayed; what the network made of them stays until it is trained anew."""
        gone = [int(item) for item in items]
        for item in gone:
            self._scores.pop(item, None)
        return self.buffer.remove(gone) if self.buffer is not None else 0

    def stored_scores(self, item: int) -> npt.NDArray[np.float32]:
        """[K] what the network said when a kept item came in; NaN where nothing is stored."""
        known = self._scores.get(item)
        missing = np.full(self.classes, np.nan, dtype=np.float32)
        return missing if known is None else np.asarray(known.numpy(), dtype=np.float32)

    def store_scores(self, scores: Mapping[int, npt.NDArray[np.float32]]) -> None:
        """Take up what the network said about kept items, [K] each."""
        self._scores = {item: _tensor(row) for item, row in scores.items()}

    def forget_scores(self) -> None:
        """Drop what the network said about kept items (their categories have changed)."""
        self._scores.clear()

    def _rows(self, experience: Experience) -> _Rows:
        """New rows first, then feedback, then replayed ones."""
        x, y = _tensor(experience.x), torch.as_tensor(experience.y, dtype=torch.long)
        w = torch.ones(len(y)) if experience.weights is None else _tensor(experience.weights)
        parts = [_Rows(x, y, w, self._unknown(len(y)))]
        if experience.feedback is not None:
            fx, fy, fw = experience.feedback
            judged = _tensor(fw).clamp(0.0, 1.0) * self.options.feedback
            parts.append(_Rows(_tensor(fx), torch.as_tensor(fy, dtype=torch.long), judged, self._unknown(len(judged))))
        if self.buffer is not None and len(self.buffer.labels):
            parts.append(self._replayed(self.buffer))
        fields = ([getattr(part, name) for part in parts] for name in ("x", "y", "w", "scores"))
        return _Rows(*(torch.cat(values) for values in fields))

    def _replayed(self, buffer: Buffer) -> _Rows:
        items = buffer.items
        scores = [self._scores.get(int(item), torch.full((self.classes,), torch.nan)) for item in items]
        x, y = _tensor(self.fetch(items)), torch.as_tensor(buffer.y)
        return _Rows(x, y, _tensor(buffer.importance), torch.stack(scores))

    def _unknown(self, n: int) -> Tensor:
        return torch.full((n, self.classes), torch.nan)

    def _train(self, rows: _Rows, new: int) -> None:
        o = self.options
        trained = [p for p in self.net.parameters() if p.requires_grad]
        # Adam's own weight decay adds decay · θ to the gradient: the L2 term, without a graph for it.
        optimiser = torch.optim.Adam(trained, lr=o.rate, weight_decay=o.decay, fused=True)
        steps = o.epochs * -(-len(rows.y) // o.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=max(1, steps))
        total = float(rows.w.sum())
        for epoch in range(o.epochs):
            self.report(epoch / o.epochs)
            for at in torch.split(torch.as_tensor(self.rng.permutation(len(rows.y))), o.batch):
                optimiser.zero_grad()
                torch.autograd.backward(self._loss(rows.take(at), total, len(rows.y) / len(at), at < new))
                optimiser.step()
                schedule.step()

    def _loss(self, batch: _Rows, total: float, scale: float, fresh: Tensor) -> Tensor:
        """Per unit of weight: an unbiased estimate of the loss over all rows."""
        scores = self.net(batch.x)
        losses = functional.cross_entropy(scores, batch.y, reduction="none")
        loss = scale * (batch.w * losses).sum() / total
        if self.options.der:
            loss = loss + self.options.der * _score_gap(scores, batch.scores)
        if self.ewc:
            loss = loss + self.ewc.penalty(self.net) / total
        if self.lwf and bool(fresh.any()):
            loss = loss + self.lwf.penalty(self.net, batch.x[fresh])
        return loss

    def _keep_scores(self) -> None:
        """Stored scores of items that are kept now; of those kept before, as they were."""
        if not self.options.der or self.buffer is None:
            return
        fresh = [item for item in self.buffer.labels if item not in self._scores]
        kept = {item: self._scores[item] for item in self.buffer.labels if item in self._scores}
        if fresh:
            with torch.no_grad():
                found = self.net(_tensor(self.fetch(np.array(fresh, dtype=np.int64))))
            kept |= dict(zip(fresh, found, strict=True))
        self._scores = kept


def _score_gap(scores: Tensor, stored: Tensor) -> Tensor:
    """Mean squared distance to stored scores, over rows that have them."""
    known = ~torch.isnan(stored).any(dim=1)
    return (scores[known] - stored[known]).square().mean() if bool(known.any()) else torch.zeros(())


def _tensor(values: npt.ArrayLike) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float32))
