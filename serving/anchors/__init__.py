"""Sentences with a known tone, written for Enso: all that sentiment knows before the first feedback. Pure data.

Two readings need two sets. A comment gives an opinion: praise, blame, or neither. An inquiry states a problem, and a problem
is no anger: its set tells rage from plain requests and from thanks.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from serving.anchors import english, japanese

NEGATIVE, NEUTRAL, POSITIVE = range(3)
TONES = ("negative", "neutral", "positive")
_MODULES: dict[str, ModuleType] = {"en": english, "ja": japanese}


@dataclass(frozen=True)
class AnchorTexts:
    """``texts`` with their tone (a position in ``TONES``); contrasting texts of one frame share a ``group``."""

    texts: tuple[str, ...]
    tones: tuple[int, ...]
    groups: tuple[int, ...]

    @classmethod
    def of(cls, pairs: tuple[tuple[str, str], ...], alone: dict[int, tuple[str, ...]]) -> AnchorTexts:
        """From (positive, negative) pairs and from texts that stand alone, by tone."""
        rows = [
            (text, tone, i)
            for i, pair in enumerate(pairs)
            for text, tone in zip(pair, (POSITIVE, NEGATIVE), strict=True)
        ]
        single = [(text, tone) for tone, texts in alone.items() for text in texts]
        rows += [(text, tone, len(pairs) + i) for i, (text, tone) in enumerate(single)]
        texts, tones, groups = zip(*rows, strict=True)
        return cls(texts, tones, groups)


def opinions(language: str) -> AnchorTexts:
    """What comments are read by (English where a language has no anchors)."""
    a = _MODULES.get(language, english)
    return AnchorTexts.of((*a.OPINIONS, *a.WORDS), {NEUTRAL: a.PLAIN})


def inquiries(language: str) -> AnchorTexts:
    """What inquiries are read by: anger, plain requests and problems, thanks."""
    a = _MODULES.get(language, english)
    return AnchorTexts.of((), {NEGATIVE: a.ANGER, NEUTRAL: (*a.INQUIRIES, *a.PLAIN), POSITIVE: a.THANKS})
