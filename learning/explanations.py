"""Why the head that serves answers a text as it does. Runs in the web process: onnxruntime alone, at a bounded cost."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Inquiry
from feedback.problems import Problem
from learning.core.explain import PERMUTATIONS, WordShares, contributions, word_shares
from learning.core.heads.features import FeatureMap
from serving import reading
from serving.artifacts import CorruptBundle
from serving.encoder import Encoder
from serving.engine import ServedHead
from serving.head import OnnxHead
from serving.models import ModelVersion
from serving.registry import open_bundle
from serving.served import served

LONGEST = 2_000  # characters; what comes after them is not explained
TOP = 8  # coordinates that are named
TINY = 1e-6


@dataclass(frozen=True)
class Explanation:
    """Sampled word values for one category, and exact contributions of embedding coordinates where the head allows them."""

    model: str
    delta: int
    category: str
    probability: float
    text: str
    words: WordShares
    seed: int
    exact: dict[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """Words by their place in the text, so that no text is copied into an answer that may be kept."""
        w = self.words
        return {
            "model": self.model, "delta": self.delta, "category": self.category, "probability": round(self.probability, 4),
            "words": {
                "method": "sampled Shapley values, in log-odds", "permutations": PERMUTATIONS, "seed": self.seed,
                "without_words": round(w.empty, 4), "with_all": round(w.whole, 4),
                "values": [
                    {"start": s.start, "end": s.end, "value": round(float(v), 4), "standard_error": round(float(e), 4)}
                    for s, v, e in zip(w.spans, w.values, w.spread, strict=True)
                ],
            },
            "exact": self.exact,
        }  # fmt: skip


def explain(*, project_id: int, inquiry: Inquiry, category: str | None = None) -> Explanation | None:
    """Explain the answer of the present head (not of the past one) to an inquiry; None where it knows no category.

    LookupError for a category that the head does not know; Problem 503 where the encoder is broken, or customers' texts
    wait for it already.
    """
    text = inquiry.text[:LONGEST]
    desk = served.desk(project_id)
    encoder, _ = served.encoder_for(text, inquiry.locale)
    head = served.head(desk, encoder)
    if not head.categories:
        return None
    x = _read(encoder, [text])
    p = head.head.predict(x)[0]
    at = int(p.argmax()) if category is None else _position(head, category)
    # The same text always gets the same explanation.
    seed = int.from_bytes(hashlib.sha256(f"{head.name} {head.delta} {text}".encode()).digest()[:4], "big")
    words = word_shares(text, lambda texts: _log_odds(encoder, head, texts, at), np.random.default_rng(seed))
    exact = _exact(head, x.astype(np.float64), at)
    return Explanation(head.name, head.delta, head.categories[at], float(p[at]), text, words, seed, exact)


def _position(head: ServedHead, category: str) -> int:
    if category not in head.categories:
        raise LookupError(f"{head.name} does not know the category {category!r}")
    return head.categories.index(category)


def _log_odds(encoder: Encoder, head: ServedHead, texts: list[str], at: int) -> NDArray[np.float64]:
    p = np.clip(head.head.predict(_read(encoder, texts))[:, at].astype(np.float64), TINY, 1 - TINY)
    return np.asarray(np.log(p) - np.log1p(-p))


def _read(encoder: Encoder, texts: list[str]) -> NDArray[np.float32]:
    """As inquiries are read: each reading takes its turn with theirs."""
    try:
        return reading.vectors(encoder, texts)
    except reading.Unreadable as error:
        why = "The text cannot be read at present: ask again later."
        raise Problem(503, "encoder-unavailable", why, retry_after=5) from error


def _exact(head: ServedHead, x: NDArray[np.float64], at: int) -> dict[str, Any] | None:
    """Contributions to the score (before temperature and softmax); None where the head is not linear in known features."""
    if not isinstance(head.head, OnnxHead) or (features := _features(head)) is None:
        return None
    weights, before = head.head.weights.astype(np.float64), head.head.neighbours
    parts = contributions(features, weights[before:], x, np.array([at]))[0]
    top = np.argsort(-np.abs(parts), kind="stable")[:TOP]
    bias = float(head.head.bias[at])
    neighbours = float(head.head.neighbour_scores(x)[0].astype(np.float64) @ weights[:before, at])
    return {
        "score": round(float(parts.sum()) + neighbours + bias, 6), "bias": round(bias, 6), "neighbours": round(neighbours, 6),
        "coordinates": [{"index": int(j), "value": round(float(parts[j]), 6)} for j in top],
        "others": round(float(np.delete(parts, top).sum()), 6),
    }  # fmt: skip


def _features(head: ServedHead) -> FeatureMap | None:
    """As the bundle states them; None for bundles from before it did."""
    if head.model_id is None:
        return None
    version = ModelVersion.objects.filter(pk=head.model_id).first()
    try:
        told = open_bundle(version).manifest["preprocessing"].get("features") if version else None
    except CorruptBundle:
        return None
    return FeatureMap(**told) if told else None
