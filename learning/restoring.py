"""A snapshot → the material that a training was made from, or which of its rows are no more."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    labeled, x = _read(space, [r["inquiry"] for r in rows])
    known, pool_x = _read(space, pool)
    kept = [r for r in rows if r["inquiry"] in labeled]
    dataset = Dataset(
        snapshot.project_id, snapshot.encoder_sha, tuple(_row(r) for r in kept), x, distilled=space.student is not None
    )
    material = Material(dataset, tuple(manifest["categories"]), read_texts(manifest), list(known), pool_x)
    return Restored(
        material,
        tuple(pk for pk in [*(r["inquiry"] for r in rows), *pool] if pk not in labeled and pk not in known),
        tuple(r["inquiry"] for r in kept if labeled[r["inquiry"]] != r["text"]),
    )


def _row(r: dict[str, Any]) -> Row:
    return Row(
        uuid.UUID(r["inquiry"]), r["category"], r["fold"], r["weight"], r["revision"], NO_TIME, r["text"], r["group"]
    )


def _read(space: Space, ids: Sequence[str]) -> tuple[dict[str, str], NDArray[np.float32]]:
    """Of the inquiries that are still there, in the order of `ids`: their texts' digests by id, and their vectors [n, d].

    Read in one call, as the training did: what a student makes of a text differs in its last bits with the batch around it.
    """
    found: dict[str, tuple[str, bytes]] = {}
    for part in _chunks(ids):
        rows = Embedding.objects.filter(encoder_sha=space.stored_sha, inquiry_id__in=part)
        found |= {
            str(pk): (text, bytes(v)) for pk, text, v in rows.values_list("inquiry_id", "inquiry__text", "vector")
        }
    known = [pk for pk in ids if pk in found]
    x = space.vectors([found[pk][0] for pk in known], [found[pk][1] for pk in known])
    return {pk: text_digest(found[pk][0]) for pk in known}, x


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + CHUNK] for at in range(0, len(ids), CHUNK))
