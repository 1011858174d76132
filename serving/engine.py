"""Text → embedding → probabilities → category, for one desk. Pure: rows were turned into plain values before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from labeling.ranking import Rules
from serving.cascade import Step
from serving.encoder import Encoder
from serving.policy import Shelf
from serving.routing import Policy

if TYPE_CHECKING:
    from serving.arms import Trial

# Smaller probabilities say nothing and cost bytes in every answer and record.
SMALLEST = 0.0005


class Head(Protocol):
    """Embeddings [n, d] → probabilities [n, C]."""

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class CategoryInfo:
    id: int
    key: str
    name: str
    high_risk: bool
    # Everything that describes it without labels: name, translated names, description, examples.
    texts: tuple[str, ...]
    # What the queue asks of its tasks (labeling/opening.py).
    overlap: int | None = None
    restricted: bool = False


@dataclass(frozen=True)
class ServedHead:
    """A head with the version it belongs to; `model_id` is None for the head made of category texts alone."""

    head: Head
    categories: tuple[str, ...]
    name: str
    model_id: int | None = None
    manifest_sha: str = ""
    delta: int = 0  # how far it has followed labels since the version was made


@dataclass(frozen=True)
class ReplyInfo:
    id: int
    text: str


@dataclass(frozen=True)
class Desk:
    """All that answering needs to know of a project, at one revision."""

    project_id: int
    slug: str
    policy: Policy
    rules: Rules
    categories: Mapping[str, CategoryInfo]
    replies: Mapping[tuple[str, str], ReplyInfo]  # (category key, locale)
    signature: str = ""
    order_templates: tuple[str, ...] = ()
    heads: Mapping[str, ServedHead] = field(default_factory=dict)  # by encoder sha256
    steps: Mapping[str, Step] = field(default_factory=dict)  # the fast step before an encoder, by its sha256
    deltas: str = ""  # which weight deltas the heads have
    trials: Mapping[str, Trial] = field(default_factory=dict)  # the candidate beside a head, by encoder sha256
    shelf: Shelf = field(default_factory=Shelf)
    _risks: dict[tuple[str, ...], NDArray[np.bool_]] = field(default_factory=dict, compare=False, repr=False)

    def risky(self, categories: tuple[str, ...]) -> NDArray[np.bool_]:
        """Which of a head's categories are of high risk [C]; worked out once per head."""
        known = self._risks.get(categories)
        if known is None:
            of_risk = [c in self.categories and self.categories[c].high_risk for c in categories]
            known = self._risks[categories] = np.array(of_risk, dtype=bool)
        return known

    def reply_to(self, category: str, locale: str) -> ReplyInfo | None:
        """The active reply in the locale, its language, or English."""
        for candidate in (locale, locale.split("-")[0], "en"):
            if found := self.replies.get((category, candidate)):
                return found
        return None


@dataclass(frozen=True)
class Prediction:
    """One answer of the model. `embedding` is the unit row that it was made from."""

    category: str | None
    confidence: float
    probabilities: dict[str, float]
    sentiment: float
    embedding: NDArray[np.float32]
    encoder_sha: str
    model_id: int | None
    model_name: str
    delta: int = 0
    # Of a distilled encoder the one that it imitates: its vector stands for that one's, and costs less to make than to keep.
    teacher_sha: str = ""
    # The rollout that was under way, and which of its arms this answer belongs to (serving/arms.py).
    rollout_id: int | None = None
    arm: str = ""
    took_ms: float | None = None  # from the text to the prediction, where it was measured
    unread: bool = False  # the encoder or its head is broken

    @property
    def margin(self) -> float:
        """p₁ − p₂ of the two most probable categories."""
        top = sorted(self.probabilities.values(), reverse=True)[:2]
        return (top[0] if top else 0.0) - (top[1] if len(top) > 1 else 0.0)


def predict(
    encoder: Encoder, served: ServedHead, sentiments: NDArray[np.float32] | None, x: NDArray[np.float32]
) -> list[Prediction]:
    """Predictions for embeddings [n, d], in their order."""
    probabilities = served.head.predict(x) if served.categories else np.zeros((len(x), 0), np.float32)
    tones = np.zeros(len(x), np.float32) if sentiments is None else sentiments
    return [one(encoder, served, p, float(s), row) for p, s, row in zip(probabilities, tones, x, strict=True)]


def one(
    encoder: Encoder,
    served: ServedHead,
    p: NDArray[np.float32],
    sentiment: float,
    x: NDArray[np.float32],
    *,
    teacher_sha: str = "",
) -> Prediction:
    """The prediction that the probabilities ``p`` [C] of one embedding ``x`` [d] make."""
    return of_shares(encoder, served, p.tolist(), sentiment, x, teacher_sha=teacher_sha)


def of_shares(
    encoder: Encoder,
    served: ServedHead,
    shares: list[float],
    sentiment: float,
    x: NDArray[np.float32],
    *,
    teacher_sha: str = "",
) -> Prediction:
    """The same for probabilities that are plain numbers already."""
    names = served.categories
    best = shares.index(max(shares)) if shares else None
    ordered = sorted((-share, i) for i, share in enumerate(shares) if share >= SMALLEST)
    return Prediction(
        category=None if best is None else names[best],
        confidence=0.0 if best is None else min(shares[best], 1.0),
        probabilities={names[i]: round(-share, 4) for share, i in ordered},
        sentiment=round(sentiment, 4),
        embedding=x,
        encoder_sha=encoder.sha256,
        model_id=served.model_id,
        model_name=served.name,
        delta=served.delta,
        teacher_sha=teacher_sha,
    )


def unread(encoder: Encoder) -> Prediction:
    """What is known of a text that nothing could read: nothing. It has no vector, and no model answers for it."""
    return Prediction(
        category=None, confidence=0.0, probabilities={}, sentiment=0.0, embedding=np.zeros(0, np.float32),
        encoder_sha=encoder.sha256, model_id=None, model_name="", unread=True,
    )  # fmt: skip


def to_bytes(x: NDArray[np.float32]) -> bytes:
    """An embedding as it is stored: float16, little-endian."""
    return x.astype("<f2").tobytes()


def from_bytes(rows: Sequence[bytes | memoryview]) -> NDArray[np.float32]:
    """Stored embeddings → unit float32 [n, d] (float16 rounding is undone by normalising)."""
    return unit(np.stack([np.frombuffer(bytes(r), "<f2") for r in rows]).astype(np.float32))


def unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows [n, d] of length 1, as heads are trained on; rows of zeros stay."""
    normed: NDArray[np.float32] = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return normed
