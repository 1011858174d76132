"""Fine-tuning: the encoder's last layers learn together with the sentiment head, on CPU and within a budget.

The lower layers stay as they are and run once; their token vectors are kept, so that an epoch costs the upper layers alone.
Training starts at the head that the frozen embedding gives (learning/core/sentiment_head), so it can only lead on from
there: after each epoch the log-loss on held-back comments is taken, and the best state, the start included, is what
remains. Adam with decoupled weight decay (Loshchilov & Hutter, arXiv:1711.05101), a linear warm-up and decay.

Torch is needed. Not handled: decoders, and checkpoints that learning/core/checkpoints does not read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch.nn import functional as F  # noqa: N812 - the name that every torch program uses

from learning.core import calibration as cal
from learning.core.checkpoints import Checkpoint, read_checkpoint
from learning.core.encoder_source import package_source
from learning.core.sentiment_head import learn
from serving.anchors import opinions
from serving.encoder.tokens import open_tokenizer, token_ids
from serving.sentiment import fit_anchors

Ints = npt.NDArray[np.int64]
Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Tuning:
    """How the encoder is tuned; ``cpu_seconds`` ends it after the epoch that exceeds them."""

    layers: int = 3
    epochs: int = 4
    batch: int = 32
    rate: float = 1e-4
    head_rate: float = 1e-3
    decay: float = 0.01
    dropout: float = 0.1
    held_back: float = 0.1
    max_tokens: int = 96
    cpu_seconds: float = 300.0


@dataclass
class TunedEncoder:
    """The encoder with its tuned tensors, and the head: weights [hidden, 3], bias [3] at ``temperature``."""

    checkpoint: Checkpoint
    tokenizer: Tokenizer
    weights: Weights
    temperature: float
    losses: list[float]
    """Log-loss on the held-back comments, before the first epoch and after each."""

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """[n, 3] probabilities of the tones."""
        with torch.no_grad():
            logits = [_logits(self, h, mask, 0, 0.0) for _, h, mask in _embedded(self, texts)]
        order = np.concatenate([rows for rows, _, _ in _batches(self, texts)])
        z = np.empty((len(texts), 3))
        z[order] = torch.cat(logits).numpy()
        return cal.softmax(z / self.temperature)


def fine_tune(
    texts: Sequence[str], tones: Ints, *, directory: Path | None = None, language: str = "en", tuning: Tuning = Tuning(),
    seed: int = 0,
) -> TunedEncoder:  # fmt: skip
    """Tune the checkpoint in ``directory`` (the default encoder's where none is named) on ``texts`` with ``tones`` [n]."""
    place = directory or package_source().directory
    checkpoint = read_checkpoint(place)
    weights = {k: torch.from_numpy(np.array(v)) for k, v in checkpoint.tensors.items()}
    tokenizer = open_tokenizer(place / "tokenizer.json", min(tuning.max_tokens, checkpoint.max_tokens))
    model = TunedEncoder(checkpoint, tokenizer, weights, 1.0, [])
    first = max(checkpoint.layers - tuning.layers, 0)
    lower = _lower(model, texts, first)
    _start_head(model, lower, first, tones, language)
    _train(model, lower, first, tones, tuning, np.random.default_rng(seed))
    return model


def _start_head(model: TunedEncoder, lower: list[torch.Tensor], first: int, tones: Ints, language: str) -> None:
    """The head of the frozen embedding, with the anchors as its prior."""
    anchors = opinions(language)
    known = _pooled(model, _lower(model, anchors.texts, first), first)
    prior = fit_anchors(known, np.array(anchors.tones), np.array(anchors.groups))
    learned = learn(_pooled(model, lower, first), tones, prior)
    head = learned.head
    model.weights["head.weight"] = torch.from_numpy(head.weights / learned.temperature).float()
    model.weights["head.bias"] = torch.from_numpy(head.bias / learned.temperature).float()


def _train(
    model: TunedEncoder, lower: list[torch.Tensor], first: int, tones: Ints, tuning: Tuning, rng: np.random.Generator
) -> None:
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    order = rng.permutation(len(lower))
    back, seen = order[: max(1, int(tuning.held_back * len(order)))], order[int(tuning.held_back * len(order)) :]
    optimiser = _optimiser(model, first, tuning)
    steps = tuning.epochs * -(-len(seen) // tuning.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min((s + 1) / (0.1 * steps + 1), 1 - s / (steps + 1))
    )
    best = _held_back(model, lower, first, back, tones)
    model.losses.append(best)
    kept = {k: v.detach().clone() for k, v in model.weights.items() if v.requires_grad}
    begun = time.process_time()
    for _ in range(tuning.epochs):
        for rows in np.array_split(rng.permutation(seen), max(1, len(seen) // tuning.batch)):
            _step(model, lower, first, rows, tones, tuning.dropout, optimiser, generator)
            schedule.step()
        loss = _held_back(model, lower, first, back, tones)
        model.losses.append(loss)
        if loss < best:
            best, kept = loss, {k: v.detach().clone() for k, v in model.weights.items() if v.requires_grad}
        if time.process_time() - begun > tuning.cpu_seconds:
            break
    model.weights = {k: kept.get(k, v.detach()) for k, v in model.weights.items()}
    model.temperature = cal.fit_temperature(_scores(model, lower, first, back), tones[back])


def _optimiser(model: TunedEncoder, first: int, tuning: Tuning) -> torch.optim.AdamW:
    upper = [f"encoder.layer.{i}." for i in range(first, model.checkpoint.layers)]
    tuned = [k for k in model.weights if any(k.startswith(u) for u in upper)]
    for name in (*tuned, "head.weight", "head.bias"):
        model.weights[name] = model.weights[name].clone().requires_grad_(True)
    return torch.optim.AdamW(
        [
            {"params": [model.weights[k] for k in tuned], "lr": tuning.rate},
            {"params": [model.weights["head.weight"], model.weights["head.bias"]], "lr": tuning.head_rate},
        ],
        weight_decay=tuning.decay,
    )


def _step(
    model: TunedEncoder, lower: list[torch.Tensor], first: int, rows: Ints, tones: Ints, dropout: float,
    optimiser: torch.optim.Optimizer, generator: torch.Generator,
) -> None:  # fmt: skip
    hidden, mask = _padded([lower[i] for i in rows])
    loss = F.cross_entropy(_logits(model, hidden, mask, first, dropout, generator), torch.from_numpy(tones[rows]))
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], 1.0)
    optimiser.step()


def _held_back(model: TunedEncoder, lower: list[torch.Tensor], first: int, rows: Ints, tones: Ints) -> float:
    return cal.log_loss(_scores(model, lower, first, rows), tones[rows])


def _scores(model: TunedEncoder, lower: list[torch.Tensor], first: int, rows: Ints) -> npt.NDArray[np.float64]:
    with torch.no_grad():
        found = [
            _logits(model, *_padded([lower[i] for i in part]), first, 0.0)
            for part in np.array_split(rows, max(1, len(rows) // 64))
        ]
    return np.asarray(torch.cat(found).numpy(), dtype=np.float64)


def _pooled(model: TunedEncoder, lower: list[torch.Tensor], first: int) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        parts = [lower[i : i + 64] for i in range(0, len(lower), 64)]
        return np.concatenate([_vector(model, *_padded(p), first, 0.0, None).numpy() for p in parts])


def _lower(model: TunedEncoder, texts: Sequence[str], first: int) -> list[torch.Tensor]:
    """Token vectors [tokens, hidden] of each text after the layers that stay as they are."""
    out: list[torch.Tensor] = [torch.empty(0)] * len(texts)
    with torch.no_grad():
        for rows, hidden, mask in _embedded(model, texts):
            for i in range(first):
                hidden = _layer(model, i, hidden, mask, 0.0, None)
            for row, h, m in zip(rows, hidden, mask, strict=True):
                out[row] = h[m].clone()
    return out


def _batches(model: TunedEncoder, texts: Sequence[str]) -> Iterator[tuple[Ints, list[list[int]], int]]:
    """Row numbers and token ids in batches of similar length."""
    tokens = token_ids(model.tokenizer, texts)
    order = np.argsort([len(t) for t in tokens], kind="stable")
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        yield rows, [tokens[i] for i in rows], max(len(tokens[i]) for i in rows)


def _embedded(model: TunedEncoder, texts: Sequence[str]) -> Iterator[tuple[Ints, torch.Tensor, torch.Tensor]]:
    """(rows, hidden [n, tokens, hidden], mask [n, tokens]) at the bottom of the encoder."""
    w, c = model.weights, model.checkpoint
    types = w.get("embeddings.token_type_embeddings.weight")
    for rows, tokens, longest in _batches(model, texts):
        ids = torch.full((len(rows), longest), c.pad_id, dtype=torch.long)
        mask = torch.zeros((len(rows), longest), dtype=torch.bool)
        for n, t in enumerate(tokens):
            ids[n, : len(t)], mask[n, : len(t)] = torch.tensor(t), True
        positions = w["embeddings.position_embeddings.weight"][c.positions_from :][:longest]
        x = w["embeddings.word_embeddings.weight"][ids] + positions + (0 if types is None else types[0])
        yield rows, _norm(model, x, "embeddings.LayerNorm"), mask


def _padded(rows: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.zeros((len(rows), max(len(r) for r in rows)), dtype=torch.bool)
    for n, r in enumerate(rows):
        mask[n, : len(r)] = True
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), mask


def _logits(
    model: TunedEncoder, hidden: torch.Tensor, mask: torch.Tensor, first: int, dropout: float,
    generator: torch.Generator | None = None,
) -> torch.Tensor:  # fmt: skip
    return (
        _vector(model, hidden, mask, first, dropout, generator) @ model.weights["head.weight"]
        + model.weights["head.bias"]
    )


def _vector(
    model: TunedEncoder,
    x: torch.Tensor,
    mask: torch.Tensor,
    first: int,
    dropout: float,
    generator: torch.Generator | None,
) -> torch.Tensor:
    """Unit vectors [n, hidden] from token vectors below layer ``first``."""
    for i in range(first, model.checkpoint.layers):
        x = _layer(model, i, x, mask, dropout, generator)
    share = mask.float()[:, :, None]
    pooled = x[:, 0] if model.checkpoint.pooling == "cls" else (x * share).sum(1) / share.sum(1)
    return F.normalize(pooled, dim=1)


def _layer(
    model: TunedEncoder, i: int, x: torch.Tensor, mask: torch.Tensor, dropout: float, generator: torch.Generator | None
) -> torch.Tensor:
    w, p, heads = model.weights, f"encoder.layer.{i}.", model.checkpoint.heads
    n, t, d = x.shape
    q, k, v = (
        F.linear(x, w[f"{p}attention.self.{part}.weight"], w[f"{p}attention.self.{part}.bias"])
        .view(n, t, heads, d // heads)
        .transpose(1, 2)
        for part in ("query", "key", "value")
    )
    seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :]).transpose(1, 2).reshape(n, t, d)
    out = F.linear(seen, w[p + "attention.output.dense.weight"], w[p + "attention.output.dense.bias"])
    x = _norm(model, x + _dropped(out, dropout, generator), p + "attention.output.LayerNorm")
    inner = F.linear(x, w[p + "intermediate.dense.weight"], w[p + "intermediate.dense.bias"])
    inner = {"relu": F.relu, "gelu": F.gelu}.get(model.checkpoint.activation, _gelu_tanh)(inner)
    out = F.linear(inner, w[p + "output.dense.weight"], w[p + "output.dense.bias"])
    return _norm(model, x + _dropped(out, dropout, generator), p + "output.LayerNorm")


def _gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x, approximate="tanh")


def _dropped(x: torch.Tensor, share: float, generator: torch.Generator | None) -> torch.Tensor:
    """Dropout from a generator of its own: runs repeat whatever else draws random numbers."""
    if not share or generator is None:
        return x
    return x * (torch.rand(x.shape, generator=generator) >= share).float() / (1 - share)


def _norm(model: TunedEncoder, x: torch.Tensor, name: str) -> torch.Tensor:
    w = model.weights
    return F.layer_norm(x, (x.shape[-1],), w[f"{name}.weight"], w[f"{name}.bias"], model.checkpoint.epsilon)
