"""Labels → arrays, and the snapshot that says exactly which labels a run has seen."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from django.conf import settings
from django.db.models import Exists, OuterRef
from numpy.typing import NDArray

from feedback.models import Fold, Inquiry
from labeling.models import Label, LabelSource
from learning.models import Snapshot
from serving import students
from serving.embeddings import embed_missing, space_of
from serving.models import Embedding

# An expert's or an agent's word counts fully; one annotator alone is wrong more often.
POOL = 10_000  # unlabeled texts of a project that a training looks at
SOURCE_WEIGHTS = {LabelSource.SINGLE: 0.9}


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


def collect(*, project_id: int, encoder_sha: str) -> Dataset:
    """Every settled label whose inquiry has an embedding under this variant; archived categories are left out."""
    rows: list[Row] = []
    texts: list[str] = []
    vectors: list[bytes] = []
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
    for pk, category, fold, source, revision, settled_at, text, group, vector in labels.values_list(*fields):
        digest = hashlib.sha256(text.encode()).hexdigest()
        rows.append(
            Row(pk, category, fold, SOURCE_WEIGHTS.get(source, 1.0), revision, settled_at, digest, bytes(group).hex())
        )
        texts.append(text)
        vectors.append(bytes(vector))
    return Dataset(project_id, encoder_sha, tuple(rows), space.vectors(texts, vectors))


def unlabeled(*, project_id: int, encoder_sha: str, limit: int) -> tuple[list[uuid.UUID], NDArray[np.float32]]:
    """Ids and unit embeddings [n, d] of the newest inquiries of the train fold that have no label, oldest first."""
    space = space_of(encoder_sha)
    rows = Embedding.objects.filter(
        inquiry__project_id=project_id, inquiry__fold=Fold.TRAIN, inquiry__label__isnull=True, encoder_sha=space.stored_sha
    ).order_by("-inquiry_id")  # fmt: skip
    found = list(rows.values_list("inquiry_id", "inquiry__text", "vector")[:limit])[::-1]
    return [i for i, _, _ in found], space.vectors([t for _, t, _ in found], [bytes(v) for _, _, v in found])


def take_snapshot(dataset: Dataset, categories: Sequence[str]) -> Snapshot:
    """Write the manifest under its hash (writing it twice is one) and record it."""
    manifest = {
        "format": 1,
        "encoder": dataset.encoder_sha,
        "categories": list(categories),
        "labels": [
            {"inquiry": str(r.inquiry), "category": r.category, "fold": r.fold, "weight": r.weight, "revision": r.revision,
             "text": r.text_sha}
            for r in dataset.rows
        ],
    }  # fmt: skip
    latest = max((r.settled_at for r in dataset.rows), default=None)
    return _store(dataset.project_id, manifest, latest)


def succeed(snapshot: Snapshot, erased: Set[str]) -> Snapshot | None:
    """The snapshot without the inquiries that were erased, as its successor; None where it never had one of them."""
    manifest = read_manifest(snapshot.sha256)
    left = [row for row in manifest["labels"] if row["inquiry"] not in erased]
    if len(left) == len(manifest["labels"]):
        return None
    after = _store(snapshot.project_id, {**manifest, "labels": left}, snapshot.last_settled_at)
    Snapshot.objects.filter(pk=snapshot.pk).update(successor=after)
    return after


def _store(project_id: int, manifest: dict[str, Any], last_settled_at: datetime | None) -> Snapshot:
    content = msgspec.json.encode(manifest)
    sha = hashlib.sha256(content).hexdigest()
    _write_once(Path(settings.ENSO_ARTIFACTS) / "snapshots" / f"{sha}.json", content)
    snapshot, _ = Snapshot.objects.get_or_create(
        project_id=project_id, sha256=sha,
        defaults={
            "encoder_sha": manifest["encoder"], "labels": len(manifest["labels"]), "last_settled_at": last_settled_at,
        },
    )  # fmt: skip
    return snapshot


def read_manifest(sha256: str) -> dict[str, Any]:
    """A snapshot's manifest; LookupError where its file is gone or is not what its hash says."""
    path = Path(settings.ENSO_ARTIFACTS) / "snapshots" / f"{sha256}.json"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LookupError(f"snapshot {sha256[:12]} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise LookupError(f"snapshot {sha256[:12]} was changed")
    return dict(msgspec.json.decode(content))


def _write_once(path: Path, content: bytes) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{uuid.uuid4().hex}.part")
    part.write_bytes(content)
    part.replace(path)
