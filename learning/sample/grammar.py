"""Sample inquiries: a seeded grammar that writes customers' texts with their true category, in English and Japanese.

A text is a request of its category, around it greetings, background, asides that mention another category's matter,
closings and the slips of hurried writers. It is meant to be neither trivial nor hopeless (see docs/encoders.md for measured
accuracies). Same seed, same texts; not a substitute for real inquiries in any figure about a product.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import ModuleType

from learning.sample import english, english_requests, japanese, japanese_requests
from learning.sample.categories import CATEGORIES, KEYS, LOCALES, SampleCategory
from learning.sample.noise import hurried, shouted
from learning.sample.phrases import expand
from learning.sample.replies import REPLIES

__all__ = [
    "CATEGORIES",
    "KEYS",
    "LOCALES",
    "SampleCategory",
    "Shares",
    "emerging",
    "generate",
    "replies",
    "write_corpus",
]

EMERGING_KEY = "scam_report"
"""The kind of problem of :func:`emerging`, for scoring; no project starts with it."""
# Customers do not ask everything equally often.
_FREQUENCIES = dict.fromkeys(KEYS, 1.0) | {
    "delivery_late": 1.6,
    "refund": 1.3,
    "product_question": 1.3,
    "warranty": 0.8,
}
_WORDS: dict[str, tuple[ModuleType, dict[str, tuple[str, ...]]]] = {
    "en": (english, english_requests.REQUESTS),
    "ja": (japanese, japanese_requests.REQUESTS),
}


@dataclass(frozen=True)
class Shares:
    """How many of the texts have each ingredient."""

    opening: float = 0.35
    background: float = 0.45
    aside: float = 0.22
    second_request: float = 0.15
    closing: float = 0.4
    angry: float = 0.08
    japanese: float = 0.4
    """Of the texts of the locale ``mixed``."""


def generate(n: int, *, seed: int, locale: str = "en", shares: Shares | None = None) -> list[tuple[str, str]]:
    """``n`` pairs (text, category key); ``locale`` is ``en``, ``ja`` or ``mixed``. Raises ValueError for another locale."""
    shares = shares or Shares()
    rng = _seeded(seed, locale)
    keys = rng.choices(KEYS, weights=[_FREQUENCIES[k] for k in KEYS], k=n)
    return [(_inquiry(key, _one_locale(locale, shares, rng), shares, rng), key) for key in keys]


def emerging(n: int, *, seed: int, locale: str = "en") -> list[str]:
    """``n`` texts of a new kind of problem (fraud in the shop's name) that none of the twelve categories covers."""
    shares = Shares(aside=0, second_request=0)
    rng = _seeded(seed, f"emerging {locale}")
    return [_emerging(_one_locale(locale, shares, rng), shares, rng) for _ in range(n)]


def replies(category: str, locale: str) -> tuple[str, str]:
    """A full and a curt reply for a category key; raises KeyError for an unknown category or locale."""
    return REPLIES[category][locale]


def write_corpus(directory: Path, *, train: int, test: int, seed: int = 0, locale: str = "en") -> None:
    """Write ``train.csv`` and ``test.csv`` with the columns ``text,label``; no test text is also a training text."""
    rows = generate(train + test, seed=seed, locale=locale)
    seen = {text for text, _ in rows[:train]}
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / "train.csv", rows[:train])
    _write(directory / "test.csv", [row for row in rows[train:] if row[0] not in seen])


def _write(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("text", "label"), *rows])


def _seeded(seed: int, stream: str) -> Random:
    if stream.removeprefix("emerging ") not in {*LOCALES, "mixed"}:
        raise ValueError(f"locale must be one of {', '.join(LOCALES)} or mixed, not {stream!r}")
    return Random(f"{stream} {seed}")  # noqa: S311 - sample texts, no secret


def _one_locale(locale: str, shares: Shares, rng: Random) -> str:
    if locale != "mixed":
        return locale
    return "ja" if rng.random() < shares.japanese else "en"


def _inquiry(key: str, locale: str, shares: Shares, rng: Random) -> str:
    words, requests = _WORDS[locale]
    core = [rng.choice(requests[key])]
    if rng.random() < shares.second_request:
        core.append(rng.choice(requests[key]))
    if rng.random() < shares.aside:
        other = rng.choice([k for k in KEYS if k != key])
        core.insert(rng.randrange(len(core) + 1), rng.choice(words.ASIDES[other]))
    return _written(core, locale, shares, rng)


def _emerging(locale: str, shares: Shares, rng: Random) -> str:
    return _written([rng.choice(_WORDS[locale][0].EMERGING)], locale, shares, rng)


def _written(core: list[str], locale: str, shares: Shares, rng: Random) -> str:
    """The core sentences with all that people put around them, as one text."""
    words = _WORDS[locale][0]
    about = {"product": (rng.choice(words.SLOTS["product"]),), "number": (str(rng.randrange(10_000, 10_000_000)),)}
    angry = rng.random() < shares.angry
    parts = [rng.choice(words.OPENINGS)] if rng.random() < shares.opening and not angry else []
    if rng.random() < shares.background:
        core.insert(rng.choice((0, 0, len(core))), rng.choice(words.FILLERS))
    parts += core
    if angry:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(words.ANGRY))
    elif rng.random() < shares.closing:
        parts.append(rng.choice(words.CLOSINGS))
    sentences = [_capitalised(expand(part, words.SLOTS | about, rng)) for part in parts]
    text = hurried(_joined(sentences, locale), locale, rng)
    return shouted(text, locale, rng) if angry and rng.random() < 0.5 else text


def _joined(sentences: list[str], locale: str) -> str:
    """Japanese sentences follow each other without a space, unless the writer left out the full stop."""
    if locale != "ja":
        return " ".join(sentences)
    return "".join(s if s.endswith(("。", "、", "！", "？")) else s + " " for s in sentences).strip()


def _capitalised(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
