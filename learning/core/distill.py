"""Distil a static encoder (``serving.encoder.static``) from another encoder, on unlabeled texts alone.

The student is a table of vectors for the n-grams that the texts hold, summed per text, and a small network with a linear
bypass; it is regressed to the teacher's vectors by cosine. It begins as model2vec's recipe ends: each single unit's row is
the teacher's vector of that unit alone, reduced to its principal axes and weighted by smooth inverse frequency (Arora et
al. 2017); longer n-grams begin near zero and learn what the order adds. Against random rows this start is worth more than
a doubling of the training time (docs/encoders.md).

What it does not do: it sees no labels, and it cannot be better than its teacher on texts unlike those given here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from serving.encoder.grams import Ints, Keys, Units, grams
from serving.encoder.manifest import FORMAT, MANIFEST, EncoderError, identity, sha256_of_bytes
from serving.encoder.protocol import Encoder
from serving.encoder.static import EPSILON, Bag, Bags
from serving.encoder.tokens import Tokens

Floats = NDArray[np.float32]
Report = Callable[[int, float], None]
SMOOTHING = 1e-3


@dataclass(frozen=True)
class DistillConfig:
    """Each value is hashed into the student's manifest."""

    width: int = 256
    hidden: int = 128
    """512 decide no better and cost 79 µs of each answer instead of 46: they do not stay in the caches (docs/serving.md)."""
    longest_gram: int = 2
    least_count: int = 2
    """n-grams of two units and more that occur less often teach nothing."""
    epochs: int = 15
    batch: int = 128
    learning_rate: float = 2e-3
    dropped: float = 0.15
    """Share of n-grams left out of each text in training, so that no single one is leant on."""
    max_tokens: int = 256


@dataclass(frozen=True)
class Student:
    """What training leaves: the arrays of ``weights.npz`` and the mean cosine to the teacher in the last epoch."""

    arrays: dict[str, NDArray[Any]]
    config: DistillConfig
    cosine: float


def distill(
    texts: Sequence[str], targets: Floats, *, teacher: Encoder, tokenizer: Path | None, rng: np.random.Generator,
    config: DistillConfig | None = None, report: Report = lambda _epoch, _cosine: None,
) -> Student:  # fmt: skip
    """Fit a student to ``targets`` [n, dim], the teacher's vectors of ``texts``.

    ``tokenizer`` is the teacher's ``tokenizer.json``; without one the units are characters, for languages without spaces.
    Raises :class:`EncoderError` for too few texts. Deterministic for one ``rng`` state and one torch thread.
    """
    config = config or DistillConfig()
    if len(texts) < config.batch or len(texts) != len(targets):
        raise EncoderError(f"Distillation needs at least {config.batch} texts with one target each, not {len(texts)}.")
    opened = Tokens.open(tokenizer, config.max_tokens) if tokenizer else None
    units = Bags(np.zeros(1, np.uint64), config.longest_gram, opened).units(texts)
    keys = vocabulary(units, config)
    model = Network(keys, config, targets.shape[1], rng)
    model.begin_at(*unit_vectors(units, opened, teacher))
    bag = Bags(keys, config.longest_gram, opened)(texts)
    cosine = _train(model, bag, torch.from_numpy(np.ascontiguousarray(targets, np.float32)), config, rng, report)
    return Student(model.folded(), config, cosine)


def vocabulary(units: Units, config: DistillConfig) -> Keys:
    """Sorted keys of all single units, and of the longer n-grams that occur often enough."""
    single, *longer = [np.unique(keys, return_counts=True) for keys, _, _ in grams(units, config.longest_gram)]
    return np.unique(np.concatenate([single[0], *(k[count >= config.least_count] for k, count in longer)]))


def unit_vectors(units: Units, tokens: Tokens | None, teacher: Encoder) -> tuple[Keys, Floats, Floats]:
    """For each distinct unit: its key, the teacher's vector of it alone [units, dim], its smooth inverse frequency."""
    ids, counts = np.unique(units.ids, return_counts=True)
    vectors = teacher.encode([chr(i) if tokens is None else tokens.written(int(i)) for i in ids])
    rarity = SMOOTHING / (SMOOTHING + counts / counts.sum())
    alone = Units.of(ids, np.ones(len(ids), np.int64))
    return next(grams(alone, 1))[0], vectors, rarity.astype(np.float32)


class Network(torch.nn.Module):
    """The student in torch; ``folded`` gives the arrays with which ``StaticEncoder`` computes the same."""

    def __init__(self, keys: Keys, config: DistillConfig, dim: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.keys, self.dropped = keys, config.dropped
        width, hidden = config.width, config.hidden

        def drawn(*shape: int, scale: float) -> torch.nn.Parameter:
            return torch.nn.Parameter(torch.from_numpy(rng.normal(0, scale, shape).astype(np.float32)))

        self.rows = drawn(len(keys), width, scale=0.02)
        self.loudness = torch.nn.Parameter(torch.zeros(len(keys)))
        self.gain, self.offset = torch.nn.Parameter(torch.ones(width)), torch.nn.Parameter(torch.zeros(width))
        self.A, self.a = drawn(width, hidden, scale=width**-0.5), torch.nn.Parameter(torch.zeros(hidden))
        self.B, self.b = drawn(hidden, dim, scale=0.1 * hidden**-0.5), torch.nn.Parameter(torch.zeros(dim))
        self.C = drawn(width, dim, scale=width**-0.5)

    @torch.no_grad()
    def begin_at(self, keys: Keys, vectors: Floats, rarity: Floats) -> None:
        """Start the rows of single units, and the bypass, from the teacher's vectors of those units."""
        centred = vectors - vectors.mean(axis=0)
        _, _, axes = np.linalg.svd(centred * np.sqrt(rarity)[:, None], full_matrices=False)
        axes = np.ascontiguousarray(axes[: self.rows.shape[1]])
        at = torch.from_numpy(np.searchsorted(self.keys, keys))
        self.rows[at, : len(axes)] = torch.from_numpy(4 * centred @ axes.T)
        self.loudness[at] = torch.from_numpy(np.log(rarity) / 2)
        self.C[: len(axes)] = torch.from_numpy(axes)

    def forward(self, rows: torch.Tensor, starts: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
        """Unit vectors [n, dim] of the bags; ``heard`` (0 or 1 per row) leaves n-grams out in training."""
        known = torch.diff(starts, append=torch.tensor([len(rows)])).clamp(min=1)
        weights = self.loudness[rows].exp() * heard
        z = functional.embedding_bag(rows, self.rows, starts, mode="sum", per_sample_weights=weights)
        z = z / known.sqrt()[:, None]
        y = functional.layer_norm(z, z.shape[-1:], self.gain, self.offset, EPSILON)
        v = torch.relu(y @ self.A + self.a) @ self.B + y @ self.C + self.b
        return functional.normalize(v, dim=1)

    @torch.no_grad()
    def folded(self) -> dict[str, NDArray[Any]]:
        """Loudness goes into the rows, gain and offset of the norm into the layers after it."""
        arrays = {
            "table": (self.rows * self.loudness.exp()[:, None]).half(),
            "A": self.gain[:, None] * self.A,
            "a": self.a + self.offset @ self.A,
            "B": self.B,
            "b": self.b + self.offset @ self.C,
            "C": self.gain[:, None] * self.C,
        }
        return {"keys": self.keys, **{name: array.numpy() for name, array in arrays.items()}}


def _train(
    model: Network, bag: Bag, targets: torch.Tensor, config: DistillConfig, rng: np.random.Generator, report: Report
) -> float:
    """One cycle of the learning rate (Smith 2018) over all epochs; returns the last epoch's mean cosine."""
    steps = config.epochs * (len(targets) // config.batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps + 1, pct_start=0.1)
    mean = 0.0
    for epoch in range(config.epochs):
        cosines = []
        for chosen in _batches(len(targets), config.batch, rng):
            rows, starts = _bags_of(bag, chosen)
            heard = torch.from_numpy((rng.random(len(rows)) >= model.dropped).astype(np.float32))
            cosine = (model(rows, starts, heard) * targets[chosen]).sum(dim=1).mean()
            optimizer.zero_grad()
            (1 - cosine).backward()
            optimizer.step()
            cycle.step()
            cosines.append(cosine.item())
        mean = float(np.mean(cosines))
        report(epoch + 1, mean)
    return mean


def _batches(n: int, size: int, rng: np.random.Generator) -> Iterator[Ints]:
    order = rng.permutation(n)
    yield from order[: n // size * size].reshape(-1, size)


def _bags_of(bag: Bag, chosen: Ints) -> tuple[torch.Tensor, torch.Tensor]:
    """The bags of the ``chosen`` texts, one after the other."""
    lengths = bag.known[chosen]
    starts = np.cumsum(lengths) - lengths
    at = np.repeat(bag.starts[chosen] - starts, lengths) + np.arange(lengths.sum())
    return torch.from_numpy(bag.rows[at]), torch.from_numpy(starts)


def write_student(
    student: Student, directory: Path, *, name: str, teacher: Encoder, tokenizer: Path | None, texts_sha256: str
) -> str:
    """Write an encoder directory of kind ``static`` (which must not exist yet); returns the variant's sha256."""
    directory.mkdir(parents=True)
    with (directory / "weights.npz").open("wb") as handle:
        np.savez(handle, **student.arrays)  # type: ignore[arg-type]
    if tokenizer is not None:
        (directory / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    manifest = {
        "format": FORMAT,
        "kind": "static",
        "name": name,
        "variant": "student",
        "dim": int(student.arrays["b"].shape[0]),
        "max_tokens": student.config.max_tokens,
        "longest_gram": student.config.longest_gram,
        "files": {p.name: sha256_of_bytes(p.read_bytes()) for p in sorted(directory.iterdir())},
        "source": {"teacher": teacher.sha256, "texts_sha256": texts_sha256, "config": asdict(student.config)},
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return identity(manifest)
