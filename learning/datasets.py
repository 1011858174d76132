"""Labels → arrays, each label with its weight."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from feedback.models import Fold
from labeling.models import Label
from learning.weighting import Weights
from serving.embeddings import embed_missing
from serving.engine import from_bytes
from serving.models import Embedding


@dataclass(frozen=True)
class Row:
    """One label as training sees it; `text_sha` tells whether the text is still the same, without holding it."""

    inquiry: uuid.UUID
    category: str
    fold: int
    weight: float
    revision: int
    settled_at: datetime
    text_sha: str
    group: str


@dataclass(frozen=True)
class Dataset:
    """Rows in the order of their inquiry ids, with their unit embeddings [n, d]."""

    project_id: int
    encoder_sha: str
    rows: tuple[Row, ...]
    x: NDArray[np.float32]

    def fold(self, fold: Fold) -> NDArray[np.bool_]:
        return np.array([r.fold == fold for r in self.rows], dtype=bool)

    def labels(self, categories: Sequence[str]) -> NDArray[np.int64]:
        """Category positions; LookupError for a category that is not among `categories`."""
        index = {c: i for i, c in enumerate(categories)}
        return np.array([index[r.category] for r in self.rows], dtype=np.int64)

    def weights(self) -> NDArray[np.float64]:
        return np.array([r.weight for r in self.rows], dtype=np.float64)

    def groups(self) -> NDArray[np.int64]:
        """A number per near-duplicate group: its members must share a fold of any cross-validation."""
        return np.unique([r.group for r in self.rows], return_inverse=True)[1].astype(np.int64)


def encoders_with_labels(*, project_id: int) -> list[str]:
    """Encoder variants under which labeled inquiries were answered, most used first."""
    embed_missing(project_id=project_id)
    rows = Embedding.objects.filter(inquiry__label__project_id=project_id, inquiry__label__category__isnull=False)
    shas = list(rows.values_list("encoder_sha", flat=True))
    return sorted(set(shas), key=lambda s: (-shas.count(s), s))


def collect(*, project_id: int, encoder_sha: str) -> Dataset:
    """Every settled label whose inquiry has an embedding under this variant; archived categories are left out."""
    labels = Label.objects.filter(
        project_id=project_id,
        category__archived_at=None,
        category__isnull=False,
        inquiry__embeddings__encoder_sha=encoder_sha,
    ).order_by("inquiry_id")
    fields = (
        "inquiry_id", "category__key", "inquiry__fold", "source", "revision", "settled_at", "inquiry__text",
        "inquiry__group_sha", "inquiry__embeddings__vector",
    )  # fmt: skip
    found = list(labels.values_list(*fields))
    weights = Weights.of(project_id=project_id, inquiries=[row[0] for row in found])
    rows = [
        Row(pk, category, fold, weights.weight(pk, source), revision, settled_at, text_digest(text), bytes(group).hex())
        for pk, category, fold, source, revision, settled_at, text, group, _ in found
    ]
    x = from_bytes([bytes(row[-1]) for row in found]) if found else np.zeros((0, 1), np.float32)
    return Dataset(project_id, encoder_sha, tuple(rows), x)


def text_digest(text: str) -> str:
    """Tells whether a text is still the same, without holding it."""
    return hashlib.sha256(text.encode()).hexdigest()


def unlabeled(*, project_id: int, encoder_sha: str, limit: int) -> tuple[list[uuid.UUID], NDArray[np.float32]]:
    """Ids and unit embeddings [n, d] of the newest inquiries of the train fold that have no label, oldest first."""
    rows = Embedding.objects.filter(
        inquiry__project_id=project_id, inquiry__fold=Fold.TRAIN, inquiry__label__isnull=True, encoder_sha=encoder_sha
    ).order_by("-inquiry_id")
    found = list(rows.values_list("inquiry_id", "vector")[:limit])[::-1]
    return [i for i, _ in found], from_bytes([bytes(v) for _, v in found]) if found else np.zeros((0, 1), np.float32)
