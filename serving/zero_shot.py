"""A head made of category texts alone, for the time before the first label: cosine to each category's mean text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
TEMPERATURES = np.geomspace(0.01, 1.0, 41)


def prototype(rows: Array) -> Array:
    """Unit mean of a category's text embeddings [n, d]."""
    mean = rows.mean(axis=0)
    unit: Array = (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
    return unit


@dataclass(frozen=True)
class ZeroShotHead:
    """softmax(cos(x, prototype)/temperature)."""

    prototypes: Array
    temperature: float

    @classmethod
    def of(cls, texts: Sequence[Array]) -> ZeroShotHead:
        """`texts[c]` holds the embeddings [n_c, d] of what describes category c (at least its name)."""
        if not texts:
            return cls(np.zeros((0, 1), np.float32), 1.0)
        prototypes = np.stack([prototype(rows) for rows in texts])
        return cls(prototypes, _temperature(texts, prototypes))

    def predict(self, x: Array) -> Array:
        return _softmax(x @ self.prototypes.T / self.temperature)


def _temperature(texts: Sequence[Array], prototypes: Array) -> float:
    """The temperature under which each text, held out of its own category, is most probable.

    Where no category has two texts, nothing can be held out: the spread of the cosines between categories then stands
    for one unit of evidence, which leaves the head unsure rather than bold.
    """
    rows, labels = [], []
    for c, own in enumerate(texts):
        for i in range(len(own) if len(own) > 1 else 0):
            scores = prototypes @ own[i]
            scores[c] = prototype(np.delete(own, i, axis=0)) @ own[i]
            rows.append(scores)
            labels.append(c)
    if not rows:
        off = (prototypes @ prototypes.T)[~np.eye(len(prototypes), dtype=bool)]
        return float(np.clip(off.std() if len(off) > 1 else 0.1, 0.02, 1.0))
    held_out, y = np.stack(rows), np.array(labels)
    losses = [-np.log(np.maximum(_softmax(held_out / t)[np.arange(len(y)), y], 1e-12)).mean() for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def _softmax(logits: Array) -> Array:
    z = logits - logits.max(axis=1, keepdims=True)
    e = np.exp(z)
    p: Array = (e / e.sum(axis=1, keepdims=True)).astype(np.float32)
    return p
