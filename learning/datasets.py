"""Labels → arrays, each label with its weight."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from django.db.models import Exists, OuterRef
from numpy.typing import NDArray

from feedback.models import Fold, Inquiry
from labeling.models import Label
from learning.weighting import Weights
from serving import students
from serving.embeddings import embed_missing, space_of
from serving.models import Embedding

POOL = 10_000  # unlabeled texts of a project that a training looks at


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
    distilled: bool = False  # vectors of a student, whose head has to be as fast as it is

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
    embed_missing(project_id=project_id, only=_wanted(project_id))
    rows = Embedding.objects.filter(inquiry__label__project_id=project_id, inquiry__label__category__isnull=False)
    shas = list(rows.values_list("encoder_sha", flat=True))
    return sorted(set(shas), key=lambda s: (-shas.count(s), s))


def _wanted(project_id: int) -> list[uuid.UUID] | None:
    """Whose vectors a training asks for: labels, and the newest others. None is all: without a student most have one."""
    if not students.in_production(project_id=project_id):
        return None
    without = Inquiry.objects.filter(project_id=project_id).annotate(
        read=Exists(Embedding.objects.filter(inquiry=OuterRef("pk")))
    )
    labeled = without.filter(label__isnull=False, read=False).values_list("pk", flat=True)
    newest = Inquiry.objects.filter(project_id=project_id, fold=Fold.TRAIN).order_by("-pk").values("pk")[:POOL]
    return [*labeled, *without.filter(pk__in=newest, read=False).values_list("pk", flat=True)]


def collect(*, project_id: int, encoder_sha: str, strength: float | None = None) -> Dataset:
    """Every settled label whose inquiry has an embedding under this variant; archived categories are left out.

    ``strength`` is another λ of what customers did than the project's.
    """
    space = space_of(encoder_sha)
    labels = Label.objects.filter(
        project_id=project_id,
        category__archived_at=None,
        category__isnull=False,
        inquiry__embeddings__encoder_sha=space.stored_sha,
    ).order_by("inquiry_id")
    fields = (
        "inquiry_id", "category__key", "inquiry__fold", "source", "revision", "settled_at", "inquiry__text",
        "inquiry__group_sha", "inquiry__embeddings__vector",
    )  # fmt: skip
    found = list(labels.values_list(*fields))
    weights = Weights.of(project_id=project_id, inquiries=[row[0] for row in found], strength=strength)
    rows = [
        Row(pk, category, fold, weights.weight(pk, source), revision, settled_at, text_digest(text), bytes(group).hex())
        for pk, category, fold, source, revision, settled_at, text, group, _ in found
    ]
    x = space.vectors([row[6] for row in found], [bytes(row[-1]) for row in found])
    return Dataset(project_id, encoder_sha, tuple(rows), x, distilled=space.student is not None)


def text_digest(text: str) -> str:
    """Tells whether a text is still the same, without holding it."""
    return hashlib.sha256(text.encode()).hexdigest()


def unlabeled(*, project_id: int, encoder_sha: str, limit: int) -> tuple[list[uuid.UUID], NDArray[np.float32]]:
    """Ids and unit embeddings [n, d] of the newest inquiries of the train fold that have no label, oldest first."""
    space = space_of(encoder_sha)
    rows = Embedding.objects.filter(
        inquiry__project_id=project_id, inquiry__fold=Fold.TRAIN, inquiry__label__isnull=True, encoder_sha=space.stored_sha
    ).order_by("-inquiry_id")  # fmt: skip
    found = list(rows.values_list("inquiry_id", "inquiry__text", "vector")[:limit])[::-1]
    return [i for i, _, _ in found], space.vectors([t for _, t, _ in found], [bytes(v) for _, _, v in found])
