"""A static encoder: a bag of n-grams and a small network, distilled from another encoder on a project's own texts.

z = Σ rows of the n-grams that are known / √(their number); y = layer norm of z; vector = B·relu(A·y + a) + C·y + b, normalised.
No attention and no order beyond the n-grams, hence some ten thousand texts per CPU-second on numpy alone. Made by
``learning.core.distill``, whose torch module computes the same.

What it does not do: it imitates its teacher on texts like those it was distilled on, and on others only as far as their words
are known: ``known_share`` says how far that is, and the cascade sends the rest to the teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.encoder.grams import Ints, Units, characters, grams, key_of
from serving.encoder.manifest import EncoderError, identity, read_manifest, verify_files
from serving.encoder.protocol import Embeddings
from serving.encoder.tokens import Tokens

BATCH = 64
# n-grams whose rows are remembered: some 20 MB, then it begins anew.
MOST_REMEMBERED = 100_000
EPSILON = 1e-5
ARRAYS = ("keys", "table", "A", "a", "B", "b", "C")
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Bag:
    """Known n-grams of several texts: ``rows`` of the table, text by text from ``starts`` [n]; how many of how many are known."""

    rows: Ints
    starts: Ints
    known: Ints
    total: Ints


class Bags:
    """Turns texts into bags: by the teacher's tokenizer, or by characters where there is none."""

    def __init__(self, keys: NDArray[np.uint64], longest: int, tokens: Tokens | None) -> None:
        self._keys = keys
        self._longest = longest
        self._tokens = tokens
        self._memo: dict[tuple[int, ...], int] = {}

    def of_one(self, text: str) -> tuple[list[int], int]:
        """(rows of the known n-grams of one text, how many it has in all): what ``__call__`` finds, without its arrays.

        Language repeats itself: a memo of pairs of units that were looked up before answers most of them.
        """
        units = self._units_of_one(text)
        found = list(zip(units))
        for n in range(2, self._longest + 1):
            found += zip(*(units[i:] for i in range(n)), strict=False)
        memo = self._memo
        rows = [memo[gram] if gram in memo else self._row(gram) for gram in found]
        return [row for row in rows if row >= 0], len(rows)

    def _units_of_one(self, text: str) -> list[int]:
        if self._tokens is None:
            return [int(i) for i in characters([text]).ids]
        return self._tokens([text])[0]

    def _row(self, gram: tuple[int, ...]) -> int:
        """The row of an n-gram, −1 for one that was not seen in distillation."""
        if (known := self._memo.get(gram)) is not None:
            return known
        key = key_of(gram)
        at = int(np.searchsorted(self._keys, key))
        row = at if at < len(self._keys) and self._keys[at] == key else -1
        if len(self._memo) >= MOST_REMEMBERED:
            self._memo.clear()
        self._memo[gram] = row
        return row

    def units(self, texts: Sequence[str]) -> Units:
        """Token ids (between the tokenizer's special ones) or code points of ``texts``."""
        if self._tokens is None:
            return characters(texts)
        tokens = self._tokens(texts)
        lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
        return Units.of(np.array([i for t in tokens for i in t], np.uint64), lengths)

    def __call__(self, texts: Sequence[str]) -> Bag:
        found = list(grams(self.units(texts), self._longest))
        keys, owner = np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        is_known = self._keys[at] == keys
        order = np.argsort(owner[is_known], kind="stable")
        known = np.bincount(owner[is_known], minlength=len(texts))
        total = np.bincount(owner, minlength=len(texts))
        return Bag(at[is_known][order], np.cumsum(known) - known, known, total)


class StaticEncoder:
    """A static encoder in memory. Thread-safe: nothing is written after loading."""

    def __init__(self, manifest: dict[str, Any], arrays: dict[str, NDArray[Any]], tokens: Tokens | None) -> None:
        self.manifest = manifest
        self.sha256 = identity(manifest)
        self.name = str(manifest["name"])
        self.dim = int(manifest["dim"])
        self._bags = Bags(arrays["keys"], int(manifest["longest_gram"]), tokens)
        # In float32 although it is stored in half of it: adding up halves costs more than reading twice as much.
        self._table = np.asarray(arrays["table"], np.float32)
        self._A, self._a, self._B, self._b, self._C = (np.asarray(arrays[n], np.float32) for n in ARRAYS[2:])
        # Both products of the normalised sum in one: the hidden layer and the bypass.
        self._AC = np.ascontiguousarray(np.concatenate([self._A, self._C], axis=1))
        self._ab = np.concatenate([self._a, self._b])

    @classmethod
    def load(cls, directory: Path) -> StaticEncoder:
        """Read and verify ``directory``; raises :class:`EncoderError` with the reason in one sentence."""
        manifest = read_manifest(directory)
        verify_files(directory, manifest)
        try:
            with np.load(directory / "weights.npz", allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in ARRAYS}
            path = directory / "tokenizer.json"
            tokens = Tokens.open(path, int(manifest["max_tokens"])) if path.is_file() else None
            return cls(manifest, arrays, tokens)
        except Exception as error:  # the readers raise many kinds for a file that they cannot read
            raise EncoderError(f"The static encoder at {directory} cannot be opened: {error}.") from error

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """Unit rows [n, dim]; a text without any known n-gram gets the same vector as the empty text."""
        if len(texts) == 1:
            return self.encode_one(texts[0])[0][None, :]
        out = np.empty((len(texts), self.dim), np.float32)
        for start in range(0, len(texts), BATCH):
            out[start : start + BATCH] = self._vectors(self._bags(texts[start : start + BATCH]))
        return out

    def encode_with_known_share(self, texts: Sequence[str]) -> tuple[Embeddings, Floats]:
        """Vectors [n, dim], and for each text the share of its n-grams that were seen in distillation [n]."""
        if len(texts) == 1:
            vector, share = self.encode_one(texts[0])
            return vector[None, :], np.array([share], np.float32)
        bags = [self._bags(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        if not bags:
            return np.empty((0, self.dim), np.float32), np.empty(0, np.float32)
        shares = [(bag.known / np.maximum(bag.total, 1)).astype(np.float32) for bag in bags]
        return np.concatenate([self._vectors(bag) for bag in bags]), np.concatenate(shares)

    def encode_one(self, text: str) -> tuple[Floats, float]:
        """The vector [dim] of one text and the share of its n-grams that are known: most requests bring one text."""
        rows, total = self._bags.of_one(text)
        z = self._table[rows].sum(axis=0) / np.float32(max(len(rows), 1) ** 0.5)
        z -= z.sum() / np.float32(len(z))
        both = (z / np.sqrt(z @ z / np.float32(len(z)) + np.float32(EPSILON))) @ self._AC + self._ab
        hidden = np.maximum(both[: len(self._a)], 0)
        v = hidden @ self._B + both[len(self._a) :]
        return np.asarray(v / np.sqrt(v @ v), np.float32), len(rows) / max(total, 1)

    def _vectors(self, bag: Bag) -> Floats:
        y = layer_normalized(sums(self._table, bag) / np.sqrt(np.maximum(bag.known, 1)).astype(np.float32)[:, None])
        v = np.maximum(y @ self._A + self._a, 0) @ self._B + y @ self._C + self._b
        return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True), np.float32)


def sums(table: NDArray[Any], bag: Bag) -> Floats:
    """For each text the sum of its rows [n, width]; zero where none is known."""
    out = np.zeros((len(bag.starts), table.shape[1]), np.float32)
    filled = np.flatnonzero(bag.known)
    if len(filled):
        out[filled] = np.add.reduceat(table[bag.rows].astype(np.float32), bag.starts[filled], axis=0)
    return out


def layer_normalized(z: Floats) -> Floats:
    """Rows with mean 0 and variance 1; gain and offset are folded into the layers that follow."""
    centred = z - z.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + EPSILON), np.float32)
