"""Why a score came out as it did: exact contributions of embedding coordinates, and sampled values of words.

The served features are positively homogeneous (random features with ReLU, and the embedding itself), so a score less its
bias is exactly Σ_j x_j · ∂score/∂x_j (Euler's theorem): each coordinate has a contribution, and they add up.

Coordinates mean nothing to a person; words do. The value of a word is its Shapley value in the game "log-odds of the
category for the text with these words alone" (Štrumbelj & Kononenko 2010), estimated from a few random orders of the
words. Within each order the values add up to log-odds(text) − log-odds(no words), so they do on average too; each comes
with its standard error, which with three orders is wide, and no interval is made of it. Words that are left out change
what the encoder makes of the others: a value says what the model does with a word, not what the customer meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learning.core.heads.features import FeatureMap

Matrix = npt.NDArray[np.float64]
PERMUTATIONS = 3
MOST_WORDS = 24  # more words are taken together in runs of neighbours, so that the number of texts has a bound
KANA, HAN = r"\u3040-\u309f", r"\u3400-\u4dbf\u4e00-\u9fff々〆"
_WORDS = re.compile(rf"[{KANA}]+|[\u30a0-\u30ff]+|[{HAN}]+|[^\s{KANA}\u30a0-\u30ff{HAN}]+")


@dataclass(frozen=True)
class Span:
    """Characters ``start`` (included) to ``end`` (excluded) of a text."""

    start: int
    end: int


@dataclass(frozen=True)
class WordShares:
    """``values`` [w] and their standard errors ``spread`` [w]; ``values`` sum to ``whole`` − ``empty``."""

    spans: tuple[Span, ...]
    values: Matrix
    spread: Matrix
    empty: float
    whole: float


def contributions(
    features: FeatureMap, weights: npt.ArrayLike, x: npt.ArrayLike, category: npt.NDArray[np.integer]
) -> Matrix:
    """[n, d]: what each coordinate of ``x`` [n, d] adds to the score of ``category`` [n], bias apart.

    ``weights`` are those of the served head [features.width, K]. Rows sum to φ(x)·weights.
    """
    rows = np.atleast_2d(np.asarray(x, dtype=np.float64))
    chosen = np.asarray(weights, dtype=np.float64)[:, category].T
    slope = features.direct * chosen[:, features.count :]
    if features.count:
        open_gates = features(rows)[:, : features.count] > 0
        slope = slope + features.backward(chosen[:, : features.count] * open_gates)
    return np.asarray(rows * slope, dtype=np.float64)


def word_shares(
    text: str,
    value: Callable[[list[str]], npt.NDArray[np.float64]],
    rng: np.random.Generator,
    *,
    permutations: int = PERMUTATIONS,
) -> WordShares:
    """Sampled Shapley values of the words of ``text``. ``value`` gives a number per text, and is asked once.

    At most ``permutations`` · (MOST_WORDS − 1) + 2 texts are read.
    """
    spans = words_of(text)
    orders = [rng.permutation(len(spans)) for _ in range(permutations)]
    chains = [[np.sort(order[: k + 1]) for k in range(len(order))] for order in orders]
    games = {(): 0, tuple(range(len(spans))): 1} | {tuple(kept.tolist()): 2 for chain in chains for kept in chain}
    kept = list(games)
    read = dict(zip(kept, value([_only(text, spans, at) for at in kept]).tolist(), strict=True))
    empty, whole = read[()], read[tuple(range(len(spans)))]
    steps = np.zeros((permutations, len(spans)))
    for row, order, chain in zip(steps, orders, chains, strict=True):
        along = [empty, *(read[tuple(at.tolist())] for at in chain)]
        row[order] = np.diff(along)
    spread = steps.std(axis=0, ddof=1) / np.sqrt(permutations) if permutations > 1 else np.zeros(len(spans))
    return WordShares(tuple(spans), steps.mean(axis=0), spread, float(empty), float(whole))


def words_of(text: str) -> list[Span]:
    """Words, in order: by spaces, and in Japanese where the script changes; neighbours together beyond MOST_WORDS."""
    found = [Span(*m.span()) for m in _WORDS.finditer(text) if m[0].strip()]
    if len(found) <= MOST_WORDS:
        return found
    return [Span(found[at[0]].start, found[at[-1]].end) for at in np.array_split(np.arange(len(found)), MOST_WORDS)]


def _only(text: str, spans: Sequence[Span], kept: Sequence[int]) -> str:
    """The text with these words alone; a space where the original has one between them."""
    parts: list[str] = []
    for n, at in enumerate(kept):
        if n and any(c.isspace() for c in text[spans[kept[n - 1]].end : spans[at].start]):
            parts.append(" ")
        parts.append(text[spans[at].start : spans[at].end])
    return "".join(parts)
