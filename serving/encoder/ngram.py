"""A text encoder without weights: hashed character n-grams, projected to a dense unit vector.

Serves any language, above all those written without spaces. Each distinct 1- to 3-gram of the normalised text (NFKC, lower case,
digits folded, one space around and between words) counts 1 + ln(occurrences) (sublinear term frequency), times a weight
for its length; it is added with a hashed sign at hashed positions of the vector, a sparse random projection (Achlioptas 2003;
Weinberger et al., arXiv:0902.2206). The hash is splitmix64's finaliser over code points: the same vectors in every
process and on every machine.

What it does not do: it knows no meaning. Two texts are near when they share spelling, so synonyms are far apart, and a
head needs more labels than on a trained encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.encoder.grams import GOLDEN, SPACE, Ints, Keys, Units, characters, grams, mixed
from serving.encoder.manifest import canonical_json, sha256_of_bytes
from serving.encoder.protocol import Embeddings

BATCH = 256
_TEXT = np.uint64(0xD6E8FEB86659FD93)


class NgramEncoder:
    """Deterministic and stateless; more dimensions lose less in the projection (see docs/encoders.md for figures)."""

    def __init__(self, dim: int = 1024, *, weights: tuple[float, ...] = (1.6, 1.0, 0.5), spread: int = 2) -> None:
        """``weights[n-1]`` is the weight of n-grams, ``spread`` the number of positions that each is added at."""
        if dim < 2 or spread < 1 or not weights:
            raise ValueError("dim must be at least 2, spread at least 1, and weights must not be empty")
        self.dim = dim
        self.name = "ngram" if dim == 1024 else f"ngram-{dim}"
        self._weights = weights
        self._spread = spread
        parameters = {"kind": "ngram", "version": 1, "dim": dim, "weights": list(weights), "spread": spread}
        self.sha256 = sha256_of_bytes(canonical_json(parameters))

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """Unit rows [n, dim]; a text's row does not depend on the others."""
        out = np.zeros((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), BATCH):
            out[start : start + BATCH] = self._encode(texts[start : start + BATCH])
        return out

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float64]:
        sums = np.zeros(len(texts) * self.dim)
        for gram, weight, text in self._weighted(characters(texts)):
            for turn in range(self._spread):
                bits = mixed(gram + GOLDEN * np.arange(turn + 1, turn + 2, dtype=np.uint64))
                position = text * self.dim + ((bits >> np.uint64(32)) % np.uint64(self.dim)).astype(np.int64)
                sign = 1.0 - 2.0 * (bits & np.uint64(1)).astype(np.float64)
                sums += np.bincount(position, weights=sign * weight, minlength=len(sums))
        return _unit(sums.reshape(len(texts), self.dim))

    def _weighted(self, units: Units) -> Iterator[tuple[Keys, NDArray[np.float64], Ints]]:
        """For each length: (key, weight, text number) of the distinct n-grams of each text."""
        for n, (keys, owner, inside) in enumerate(grams(units, len(self._weights)), 1):
            words = units.ids[inside] != SPACE if n == 1 else np.ones(len(keys), np.bool_)
            gram, text, count = _distinct(keys[words], owner[words])
            yield gram, self._weights[n - 1] * (1 + np.log(count)), text


def _distinct(gram: Keys, text: Ints) -> tuple[Keys, Ints, Ints]:
    """The distinct (gram, text) pairs and how often each occurs, text by text."""
    _, first, count = np.unique(gram ^ (text.astype(np.uint64) * _TEXT), return_index=True, return_counts=True)
    return gram[first], text[first], count


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    # Signs may cancel in a text of one or two characters: it still needs a direction, the same each time.
    rows[norms[:, 0] == 0, 0] = 1
    return rows / np.where(norms == 0, 1, norms)
