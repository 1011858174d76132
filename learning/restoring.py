"""A snapshot → the material that a training was made from, or which of its rows are no more."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Inquiry
from learning.datasets import Dataset, Row, text_digest
from learning.models import Snapshot
from learning.snapshots import Material, read_manifest, read_texts
from serving.embeddings import Space, space_of
from serving.models import Embedding

CHUNK = 5_000
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # a manifest does not say when a label was settled, and no training reads it


@dataclass(frozen=True)
class Restored:
    """The material without what is missing; `erased` and `changed` are ids of inquiries."""

    material: Material
    erased: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def whole(self) -> bool:
        return not (self.erased or self.changed)


def restore(snapshot: Snapshot) -> Restored:
    """Raises LookupError where a file of the snapshot is gone or changed, or it is older than what can be restored."""
    manifest = read_manifest(snapshot.sha256)
    if manifest["format"] == 1 or manifest["texts"] is None:
        raise LookupError(f"snapshot {snapshot.sha256[:12]} does not hold all that a training is made from")
    rows, pool = manifest["labels"], manifest["pool"]
    space = space_of(snapshot.encoder_sha)
    vectors = _vectors(space, [*(r["inquiry"] for r in rows), *pool])
    digests = _digests([r["inquiry"] for r in rows])
    kept = [r for r in rows if r["inquiry"] in vectors and r["inquiry"] in digests]
    known = [pk for pk in pool if pk in vectors]
    dataset = Dataset(
        snapshot.project_id, snapshot.encoder_sha, tuple(_row(r) for r in kept), _stacked(vectors, [r["inquiry"] for r in kept]),
        distilled=space.student is not None,
    )  # fmt: skip
    material = Material(
        dataset, tuple(manifest["categories"]), read_texts(manifest), known, _stacked(vectors, known)
    )  # fmt: skip
    here = {r["inquiry"] for r in kept} | set(known)
    return Restored(
        material,
        tuple(pk for pk in [*(r["inquiry"] for r in rows), *pool] if pk not in here),
        tuple(r["inquiry"] for r in kept if digests[r["inquiry"]] != r["text"]),
    )


def _row(r: dict[str, Any]) -> Row:
    return Row(
        uuid.UUID(r["inquiry"]), r["category"], r["fold"], r["weight"], r["revision"], NO_TIME, r["text"], r["group"]
    )


def _vectors(space: Space, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """The vector [d] of each inquiry that is still there, as a training sees it."""
    found: dict[str, NDArray[np.float32]] = {}
    for part in _chunks(ids):
        rows = Embedding.objects.filter(encoder_sha=space.stored_sha, inquiry_id__in=part)
        read = list(rows.values_list("inquiry_id", "inquiry__text", "vector"))
        x = space.vectors([text for _, text, _ in read], [bytes(v) for _, _, v in read])
        found |= {str(pk): row for (pk, _, _), row in zip(read, x, strict=False)}
    return found


def _digests(ids: Sequence[str]) -> dict[str, str]:
    rows = (Inquiry.objects.filter(pk__in=part) for part in _chunks(ids))
    return {str(pk): text_digest(text) for part in rows for pk, text in part.values_list("pk", "text")}


def _stacked(vectors: dict[str, NDArray[np.float32]], ids: Sequence[str]) -> NDArray[np.float32]:
    return np.stack([vectors[pk] for pk in ids]) if ids else np.zeros((0, 1), np.float32)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + CHUNK] for at in range(0, len(ids), CHUNK))
