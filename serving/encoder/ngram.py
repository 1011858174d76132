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

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.encoder.manifest import canonical_json, sha256_of_bytes
from serving.encoder.protocol import Embeddings

BATCH = 256
SPACE, ZERO, NINE = 32, 48, 57
Hashes = NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
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
        points, owner, last = code_points(texts)
        sums = np.zeros(len(texts) * self.dim)
        for gram, weight, text in self._grams(points, owner, last):
            for turn in range(self._spread):
                bits = mixed(gram + _GOLDEN * np.arange(turn + 1, turn + 2, dtype=np.uint64))
                position = text * self.dim + ((bits >> np.uint64(32)) % np.uint64(self.dim)).astype(np.int64)
                sign = 1.0 - 2.0 * (bits & np.uint64(1)).astype(np.float64)
                sums += np.bincount(position, weights=sign * weight, minlength=len(sums))
        return _unit(sums.reshape(len(texts), self.dim))

    def _grams(
        self, points: Hashes, owner: NDArray[np.int64], last: NDArray[np.int64]
    ) -> list[tuple[Hashes, NDArray[np.float64], NDArray[np.int64]]]:
        """For each length: (hash, weight, text number) of the distinct n-grams of each text."""
        starts = np.arange(len(owner))
        hashes = np.zeros(len(owner), np.uint64)
        found = []
        for n, weight in enumerate(self._weights, 1):
            hashes = mixed((hashes + _GOLDEN) * _GOLDEN + points[np.minimum(starts + n - 1, len(points) - 1)])
            inside = starts + n - 1 <= last
            if n == 1:
                inside &= points[: len(owner)] != SPACE
            gram, text, count = _distinct(hashes[inside], owner[inside])
            found.append((gram, weight * (1 + np.log(count)), text))
        return found


def normalized(text: str) -> str:
    """NFKC, lower case, words separated by one space, one space at each end."""
    return f" {' '.join(unicodedata.normalize('NFKC', text).lower().split())} "


def code_points(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64], NDArray[np.int64]]:
    """Code points of all texts in one array; for each, the text's number and the position of the text's last one."""
    plain = [normalized(t) for t in texts]
    points = np.frombuffer("".join(plain).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    points[(points >= ZERO) & (points <= NINE)] = ZERO  # order numbers and amounts: that there is one, not which
    lengths = np.array([len(t) for t in plain])
    return points, np.repeat(np.arange(len(texts)), lengths), np.repeat(np.cumsum(lengths) - 1, lengths)


def mixed(h: Hashes) -> Hashes:
    """splitmix64's finaliser (Steele et al. 2014): every input bit changes half of the output bits."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


def _distinct(gram: Hashes, text: NDArray[np.int64]) -> tuple[Hashes, NDArray[np.int64], NDArray[np.int64]]:
    """The distinct (gram, text) pairs and how often each occurs, text by text."""
    _, first, count = np.unique(gram ^ (text.astype(np.uint64) * _TEXT), return_index=True, return_counts=True)
    return gram[first], text[first], count


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    # Signs may cancel in a text of one or two characters: it still needs a direction, the same each time.
    rows[norms[:, 0] == 0, 0] = 1
    return rows / np.where(norms == 0, 1, norms)
