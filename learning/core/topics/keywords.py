"""What a topic is about, in its own words: class-based TF-IDF (Grootendorst 2022) over tokens that need no dictionary.

Latin, Cyrillic and other spaced scripts are split into words and pairs of words. Japanese and Chinese are cut where the
script changes: runs of kanji, katakana and Latin are words, long kanji runs also give their pairs of characters, and a
single kanji takes the first hiragana after it (a verb's stem); runs of hiragana are endings and particles, and left
out. Function words of any language fall out by themselves: a term spread evenly over all topics has no entropy to lose,
and no weight. It does not inflect, lemmatise or translate.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from learning.core.drift.geometry import Floats, Ints

_KANJI = "\u3400-\u4dbf\u4e00-\u9fff々〆"
_KATAKANA = "\u30a1-\u30faー"
_HIRAGANA = "\u3041-\u3096"
_PIECES = re.compile(
    rf"[{_KANJI}]+[{_HIRAGANA}]?|[{_KATAKANA}]{{2,}}|[^\W_{_KANJI}{_KATAKANA}{_HIRAGANA}]+(?:['’][^\W\d_]+)?"
)
_PARTICLES = frozenset("はがをにへとでのもやか")
_LONG = 3  # kanji beyond which a run also gives its pairs
_NEARLY = 0.6  # of a word's weight: enough for a phrase to stand for it


@dataclass(frozen=True)
class Keyword:
    """A term and its weight in the topic."""

    term: str
    weight: float


def tokens(text: str) -> list[str]:
    """Terms of one text, in order, lower case: words, pairs of neighbouring words, and runs of scripts without spaces."""
    found: list[str] = []
    previous, end = "", -1
    for piece in _PIECES.finditer(text.lower()):
        word = piece.group()
        if _is_kanji(word[0]):
            found += _kanji_terms(word)
            previous = ""
            continue
        found.append(word)
        if previous and text[end : piece.start()].isspace():
            found.append(f"{previous} {word}")
        previous, end = ("" if "\u3040" <= word[0] <= "\u30ff" else word), piece.end()
    return found


def _is_kanji(character: str) -> bool:
    return "\u3400" <= character <= "\u9fff" or character in "々〆"


def _kanji_terms(run: str) -> list[str]:
    """The run without a hiragana ending, unless it is one kanji and the ending is part of the word."""
    stem = run if _is_kanji(run[-1]) else run[:-1]
    if len(stem) == 1:
        return [run] if len(run) == 2 and run[1] not in _PARTICLES else []
    pairs = [stem[k : k + 2] for k in range(len(stem) - 1)] if len(stem) > _LONG else []
    return [stem, *pairs]


def keywords(texts: Sequence[str], topics: Ints, *, most: int = 8, least: int = 2) -> dict[int, list[Keyword]]:
    """The most telling terms of each topic id in ``topics`` (n,): c-TF-IDF times how unevenly the term is spread over
    the topics.

    Terms of fewer than ``least`` texts are left out, and terms within (or around) a weightier one of the same topic.
    """
    ids, place = np.unique(topics, return_inverse=True)
    vocabulary, counts = _counts(texts, place, len(ids), least)
    if not vocabulary:
        return {int(i): [] for i in ids}
    weight = _class_tf_idf(counts)
    return {int(topic): _distinct(vocabulary, weight[row], most) for row, topic in enumerate(ids)}


def _counts(texts: Sequence[str], place: Ints, classes: int, least: int) -> tuple[list[str], NDArray[np.float64]]:
    """Vocabulary and term counts (classes, terms); a term counts once per text, so that one long text cannot set the
    topic.
    """
    seen = [set(tokens(text)) for text in texts]
    frequency = Counter(term for terms in seen for term in terms)
    vocabulary = sorted(term for term, count in frequency.items() if count >= least and len(term) > 1)
    column = {term: k for k, term in enumerate(vocabulary)}
    cells = [
        (row, column[term]) for row, terms in zip(place.tolist(), seen, strict=True) for term in terms if term in column
    ]
    rows, columns = (np.array(c, dtype=int) for c in zip(*cells, strict=True)) if cells else (np.empty(0, int),) * 2
    counted = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(classes, len(vocabulary)))
    return vocabulary, np.asarray(counted.toarray())


def _class_tf_idf(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """tf * log(1 + A / f) * (1 - H / log C): A terms per class on average, f the term's total, H its entropy over
    classes.
    """
    total = np.maximum(counts.sum(0), 1)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    rarity = np.log1p(counts.sum() / len(counts) / total)
    if len(counts) == 1:
        return np.asarray(share * rarity)
    rate = share / np.maximum(share.sum(0), 1e-12)
    entropy = -(rate * np.log(np.maximum(rate, 1e-12))).sum(0)
    return np.asarray(share * rarity * (1 - entropy / np.log(len(counts))))


def _distinct(vocabulary: list[str], weight: NDArray[np.float64], most: int) -> list[Keyword]:
    """The weightiest terms, a phrase in place of its word where it says nearly as much, and none within another."""
    order = [int(k) for k in np.argsort(-weight, kind="stable")[: 20 * most] if weight[k] > 0]
    chosen: list[Keyword] = []
    for k in order:
        longer = [j for j in order if weight[j] >= _NEARLY * weight[k] and vocabulary[k] in vocabulary[j]]
        term = vocabulary[max(longer, key=lambda j: (len(vocabulary[j]), weight[j]))]
        if len(chosen) < most and not any(term in c.term or c.term in term for c in chosen):
            chosen.append(Keyword(term, float(weight[k])))
    return chosen


def representatives(x: Floats, topics: Ints, *, most: int = 3) -> dict[int, list[int]]:
    """Row numbers of each topic's most typical texts: the nearest to the centre, then the nearest that are as far from
    those picked as half of the members are from the centre, so that a text sent twice is not shown twice.
    """
    return {int(t): _typical(x, np.flatnonzero(topics == t), most) for t in np.unique(topics)}


def _typical(x: Floats, rows: Ints, most: int) -> list[int]:
    centre = x[rows].mean(0)
    near = x[rows] @ (centre / max(float(np.linalg.norm(centre)), 1e-12))
    apart = float(np.median(near))  # similarity of a middling member to the centre
    picked: list[int] = []
    free = np.ones(len(rows), bool)
    for _ in range(min(most, len(rows))):
        if not free.any():
            free[np.setdiff1d(np.arange(len(rows)), picked)] = True
        best = int(np.where(free, near, -np.inf).argmax())
        picked.append(best)
        free &= x[rows] @ x[rows[best]] <= apart
        free[best] = False
    return [int(rows[k]) for k in picked]
