"""What finders of personal data share: the span that they give, and how a piece is asked for words. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

DATE = re.compile(r"(?<![\d./-])(?:\d{1,2}([./-])\d{1,2}\1(?:\d{4}|\d{2})|\d{4}([./-])\d{1,2}\2\d{1,2})(?![./-]?\d)")
# Regular expressions over words are slow: they run only where one of their words stands beside digits.
HAS_NUMBER = re.compile(r"\d[\dA-Za-z-]{2}")
_LOWER = str.maketrans({chr(c): chr(c + 32) for c in range(ord("A"), ord("Z") + 1)})


@dataclass(frozen=True)
class Span:
    """Where a finder saw something, and the form by which the same value is told again."""

    kind: str
    start: int
    end: int
    value: str


Finder = Callable[[str], list[Span]]


def says(piece: str, words: Sequence[str]) -> bool:
    low = lowered(piece)
    return any(word in low for word in words) and bool(HAS_NUMBER.search(piece))


def lowered(piece: str) -> str:
    """Lower case of the same length (that of "İ" is longer)."""
    low = piece.lower()
    return low if len(low) == len(piece) else piece.translate(_LOWER)
