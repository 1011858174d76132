"""Fine-tuning: the encoder's last layers learn together with the sentiment head, on CPU and within a budget.

The lower layers stay as they are and run once; their token vectors are kept, so that an epoch costs the upper layers alone.
Training starts at the head that the frozen embedding gives (learning/core/sentiment_head), so it can only lead on from
there: after each epoch the log-loss on held-back comments is taken, and the best state, the start included, is what
remains. Adam with decoupled weight decay (Loshchilov & Hutter, arXiv:1711.05101), a linear warm-up and decay.

Torch is needed. What serves is the tuned checkpoint in int8 (learning/core/encoder_export) with this head.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that every torch program uses

from learning.core import calibration as cal
from learning.core.checkpoints import Checkpoint
from learning.core.heads.folds import stratified_folds
from learning.core.sentiment_head import learn
from learning.core.trainable_bert import Drop, Ints, TrainableBert, dropout, keep
from serving.anchors import AnchorTexts
from serving.sentiment import ToneHead, fit_anchors

MINIMUM = 10
GROUP = 16  # batches that are drawn together and sorted by length


@dataclass(frozen=True)
class Tuning:
    """How the encoder is tuned; ``cpu_seconds`` ends it after the epoch that exceeds them."""

    layers: int = 3
    epochs: int = 3
    batch: int = 32
    rate: float = 1e-4
    head_rate: float = 1e-3
    decay: float = 0.01
    dropout: float = 0.1
    held_back: int = 10
    """One in so many comments is held back."""
    max_tokens: int = 96
    cpu_seconds: float = 300.0


class TunedEncoder:
    """An encoder with a head: weights [hidden, 3], bias [3] at ``temperature``; ``first`` is the lowest layer that learns."""

    def __init__(self, directory: Path, tuning: Tuning) -> None:
        self.bert = TrainableBert(directory, max_tokens=tuning.max_tokens)
        self.first = max(self.bert.checkpoint.layers - tuning.layers, 0)
        self.temperature = 1.0
        self.losses: list[float] = []
        """Log-loss on the held-back comments at the best temperature, before the first epoch and after each."""

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """[n, 3] probabilities of the tones."""
        return cal.softmax(self.scores(self.bert.below(texts, self.first)) / self.temperature)

    def checkpoint(self) -> Checkpoint:
        """The encoder as it is now, under a hash of its own."""
        tensors = {k: self.bert.weights[k].detach().numpy() for k in self.bert.checkpoint.tensors}
        digest = hashlib.sha256()
        for name in sorted(tensors):
            digest.update(name.encode() + b"\0" + tensors[name].tobytes())
        return replace(self.bert.checkpoint, tensors=tensors, weights_sha256=digest.hexdigest())

    def head(self) -> ToneHead:
        weights, bias = (self.bert.weights[f"head.{part}"].detach().numpy() for part in ("weight", "bias"))
        return ToneHead(weights.astype(np.float64), bias.astype(np.float64))

    def scores(self, tokens: Sequence[Tensor]) -> npt.NDArray[np.float64]:
        """[n, 3] before the softmax, from what enters the first layer that learns."""
        return self.head().logits(self.bert.vectors(tokens, self.first))

    def logits(self, tokens: Sequence[Tensor], drop: Drop = keep) -> Tensor:
        w = self.bert.weights
        return self.bert.above(tokens, self.first, drop) @ w["head.weight"] + w["head.bias"]


@dataclass(frozen=True)
class Rated:
    """Comments with tones [n] and weights [n]; ``groups`` [n] of near-duplicates are held back together."""

    texts: Sequence[str]
    tones: Ints
    weights: npt.NDArray[np.float64]
    groups: Ints

    @classmethod
    def plain(cls, texts: Sequence[str], tones: Ints) -> Rated:
        return cls(texts, tones, np.ones(len(texts)), np.arange(len(texts)))


def fine_tune(
    rated: Rated, anchors: AnchorTexts, *, directory: Path, tuning: Tuning = Tuning(), seed: int = 0
) -> TunedEncoder:
    """Tune the checkpoint in ``directory`` on ``rated``; ``anchors`` are the head's prior. ValueError for under ten comments."""
    rng = np.random.default_rng(seed)
    folds = stratified_folds(rated.tones, tuning.held_back, rng, groups=rated.groups)
    if len(folds) < MINIMUM:
        raise ValueError(f"{len(folds)} comments are too few to tune an encoder on; {MINIMUM} are needed")
    back, seen = np.flatnonzero(folds == 0), np.flatnonzero(folds)
    model = TunedEncoder(directory, tuning)
    tokens = model.bert.below(rated.texts, model.first)
    _start_head(model, tokens, rated, seen, anchors)
    held_back, tones, weights = [tokens[i] for i in back], rated.tones[back], rated.weights[back]
    best = _Best(model, lambda: _calibrated_loss(model.scores(held_back), tones, weights))
    _descend(model, tokens, rated, seen, tuning, rng, best)
    model.temperature = cal.fit_temperature(model.scores(held_back), tones, weights)
    return model


def _calibrated_loss(scores: npt.NDArray[np.float64], tones: Ints, weights: npt.NDArray[np.float64]) -> float:
    """Log-loss at the best temperature: epochs make an encoder surer than it may be before they stop making it better."""
    return cal.log_loss(scores / cal.fit_temperature(scores, tones, weights), tones, weights)


def _descend(
    model: TunedEncoder,
    tokens: list[Tensor],
    rated: Rated,
    seen: Ints,
    tuning: Tuning,
    rng: np.random.Generator,
    best: _Best,
) -> None:
    """Epochs until all are done or the budget is spent; leaves the best state."""
    optimiser = _optimiser(model, tuning)
    steps = tuning.epochs * -(-len(seen) // tuning.batch)
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min((s + 1) / (0.1 * steps + 1), 1 - s / (steps + 1))
    )
    drop = dropout(tuning.dropout, torch.Generator().manual_seed(int(rng.integers(2**31))))
    begun = time.process_time()
    best.look()
    for _ in range(tuning.epochs):
        for rows in _mixed(rng.permutation(seen), [len(t) for t in tokens], tuning.batch, rng):
            importance = torch.from_numpy(rated.weights[rows] / rated.weights[seen].mean()).float()
            losses = F.cross_entropy(
                model.logits([tokens[i] for i in rows], drop), torch.from_numpy(rated.tones[rows]), reduction="none"
            )
            _step((losses * importance).mean(), optimiser)
            rates.step()
        best.look()
        if time.process_time() - begun > tuning.cpu_seconds:
            break
    best.restore()


def _start_head(model: TunedEncoder, tokens: list[Tensor], rated: Rated, seen: Ints, anchors: AnchorTexts) -> None:
    """The head of the frozen embedding, with the anchors as its prior."""
    known = model.bert.vectors(model.bert.below(anchors.texts, model.first), model.first)
    prior = fit_anchors(known, np.array(anchors.tones), np.array(anchors.groups))
    x = model.bert.vectors([tokens[i] for i in seen], model.first)
    learned = learn(x, rated.tones[seen], prior, weights=rated.weights[seen], groups=rated.groups[seen])
    model.bert.weights["head.weight"] = torch.from_numpy(learned.head.weights / learned.temperature).float()
    model.bert.weights["head.bias"] = torch.from_numpy(learned.head.bias / learned.temperature).float()


def _optimiser(model: TunedEncoder, tuning: Tuning) -> torch.optim.AdamW:
    """The only place that says what learns: the upper layers and the head."""
    weights, layers = model.bert.weights, range(model.first, model.bert.checkpoint.layers)
    upper = [k for k in weights if k.startswith(tuple(f"encoder.layer.{i}." for i in layers))]
    head = ["head.weight", "head.bias"]
    for name in (*upper, *head):
        weights[name] = weights[name].clone().requires_grad_(True)
    groups = [
        {"params": [weights[k] for k in names], "lr": rate}
        for names, rate in ((upper, tuning.rate), (head, tuning.head_rate))
    ]
    return torch.optim.AdamW(groups, weight_decay=tuning.decay)


class _Best:
    """The state with the least loss so far."""

    def __init__(self, model: TunedEncoder, loss: Callable[[], float]) -> None:
        self._model, self._loss = model, loss
        self._kept: dict[str, Tensor] = {}

    def look(self) -> None:
        loss = self._loss()
        if loss < min(self._model.losses, default=np.inf):
            self._kept = {k: v.detach().clone() for k, v in self._model.bert.weights.items() if v.requires_grad}
        self._model.losses.append(loss)

    def restore(self) -> None:
        self._model.bert.weights |= self._kept


def _mixed(order: Ints, lengths: list[int], batch: int, rng: np.random.Generator) -> list[Ints]:
    """Batches of texts of similar length (little padding), in any order."""
    found: list[Ints] = []
    for some in (order[i : i + GROUP * batch] for i in range(0, len(order), GROUP * batch)):
        some = some[np.argsort([lengths[i] for i in some], kind="stable")]
        found += [some[at : at + batch] for at in range(0, len(some), batch)]
    return [found[i] for i in rng.permutation(len(found))]


def _step(loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], 1.0)
    optimiser.step()
