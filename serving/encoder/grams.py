"""n-grams as 64-bit keys, for all texts of a batch at once: the features of the n-gram and the static encoders.

The hash is splitmix64's finaliser chained over code points or token ids: the same keys in every process and on every
machine. Two different n-grams share a key with probability 2⁻⁶⁴ each, which nothing here guards against.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]
Ints = NDArray[np.int64]
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_GOLDEN, _ALL = int(GOLDEN), 2**64 - 1
SPACE, ZERO, NINE = 32, 48, 57


@dataclass(frozen=True)
class Units:
    """Code points or token ids of several texts in one row; ``owner`` is the text of each, ``last`` its last position."""

    ids: Keys
    owner: Ints
    last: Ints

    @classmethod
    def of(cls, ids: Keys, lengths: Ints) -> Units:
        owner = np.repeat(np.arange(len(lengths)), lengths)
        return cls(ids, owner, np.repeat(np.cumsum(lengths) - 1, lengths))


def characters(texts: Sequence[str]) -> Units:
    """Code points of the normalised texts, every digit as ``0``."""
    plain = [normalized(t) for t in texts]
    points = np.frombuffer("".join(plain).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    points[(points >= ZERO) & (points <= NINE)] = ZERO  # order numbers and amounts: that there is one, not which
    return Units.of(points, np.array([len(t) for t in plain], np.int64))


def normalized(text: str) -> str:
    """NFKC, lower case, words separated by one space, one space at each end."""
    return f" {' '.join(unicodedata.normalize('NFKC', text).lower().split())} "


def grams(units: Units, longest: int) -> Iterator[tuple[Keys, Ints, NDArray[np.bool_]]]:
    """For n = 1 … ``longest``: keys and owners of the n-grams within each text, and where they start."""
    starts = np.arange(len(units.ids))
    keys = np.zeros(len(units.ids), np.uint64)
    for n in range(1, longest + 1):
        keys = mixed((keys + GOLDEN) * GOLDEN + units.ids[np.minimum(starts + n - 1, len(units.ids) - 1)])
        inside = starts + n - 1 <= units.last
        yield keys[inside], units.owner[inside], inside


def key_of(gram: Sequence[int]) -> int:
    """The key that ``grams`` gives to one n-gram, in plain integers: for one at a time this is faster than arrays."""
    key = 0
    for unit in gram:
        key = ((key + _GOLDEN) * _GOLDEN + unit) & _ALL
        key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & _ALL
        key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & _ALL
        key ^= key >> 31
    return key


def mixed(h: Keys) -> Keys:
    """splitmix64's finaliser (Steele et al. 2014): every input bit changes half of the output bits."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))
