"""Content-addressed manifests: exactly what a run has seen, by ids and hashes and without a text.

A manifest names its labels in parts, and each part is a file under its own hash. A part ends where the hash of an
inquiry's id says so (content-defined chunking, as in rsync and LBFS): a label that is added or changed touches one part,
so that successive snapshots of a project share almost all of their bytes. Beside the labels it names the unlabeled pool,
the versions of the guidelines, and the embeddings of the category texts, which are ours and kept as they were. So a run
can be repeated from it (learning/reproduction.py), or it can be said which rows are no more.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from django.conf import settings
from django.db.models import Max
from numpy.typing import NDArray

from labeling.models import Guideline
from learning.datasets import Dataset
from learning.models import Snapshot
from serving import storage

FORMAT = 2
MEAN_PART = 64  # rows
Texts = Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class Material:
    """All that a training is made from: labels, categories in their order, category texts, and ids of the unlabeled pool."""

    dataset: Dataset
    categories: tuple[str, ...]
    texts: Texts = ()
    pool_ids: Sequence[Any] = ()
    pool: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 1), np.float32))


def take_snapshot(material: Material) -> Snapshot:
    """Write the manifest and its parts under their hashes (what is there already is not written again) and record it."""
    rows = [
        {"inquiry": str(r.inquiry), "category": r.category, "fold": r.fold, "weight": r.weight, "revision": r.revision,
         "text": r.text_sha, "group": r.group[:16]}
        for r in material.dataset.rows
    ]  # fmt: skip
    manifest = {
        "format": FORMAT,
        "encoder": material.dataset.encoder_sha,
        "categories": list(material.categories),
        "guidelines": _guidelines(material.dataset.project_id),
        "texts": _write_texts(material.texts),
        "pool": [str(pk) for pk in material.pool_ids],
        "labels": rows,
    }
    latest = max((r.settled_at for r in material.dataset.rows), default=None)
    return _store(material.dataset.project_id, manifest, latest)


def succeed(snapshot: Snapshot, erased: Set[str]) -> Snapshot | None:
    """The snapshot without the inquiries that were erased, as its successor; None where it never had one of them."""
    manifest = read_manifest(snapshot.sha256)
    labels = [row for row in manifest["labels"] if row["inquiry"] not in erased]
    pool = [pk for pk in manifest.get("pool", []) if pk not in erased]
    if len(labels) == len(manifest["labels"]) and len(pool) == len(manifest.get("pool", [])):
        return None
    left = {**manifest, "labels": labels} | ({"pool": pool} if "pool" in manifest else {})
    after = _store(snapshot.project_id, left, snapshot.last_settled_at)
    Snapshot.objects.filter(pk=snapshot.pk).update(successor=after)
    return after


def read_manifest(sha256: str) -> dict[str, Any]:
    """A snapshot's manifest with its parts put together; LookupError where a file is gone or not what its hash says."""
    manifest = dict(msgspec.json.decode(_read(_folder() / f"{sha256}.json", sha256)))
    if manifest["format"] == 1:
        return manifest
    parts = {name: [row for sha in manifest[name] for row in _part(sha)] for name in ("labels", "pool")}
    return {**manifest, **parts}


def read_texts(manifest: dict[str, Any]) -> list[NDArray[np.float32]]:
    """Embeddings of each category's texts, as they were; LookupError where their file is gone or changed."""
    texts = manifest["texts"]
    data = _read(_folder() / "texts" / f"{texts['sha256']}.npy", texts["sha256"])
    rows = np.load(io.BytesIO(data), allow_pickle=False)
    return [np.asarray(part, np.float32) for part in np.split(rows, np.cumsum(texts["counts"])[:-1])]


def files_of(sha256: str) -> list[Path]:
    """Every file that a snapshot is made of, its manifest first."""
    manifest = dict(msgspec.json.decode(_read(_folder() / f"{sha256}.json", sha256)))
    own = [_folder() / f"{sha256}.json"]
    if manifest["format"] == 1:
        return own
    parts = [_folder() / "parts" / f"{sha}.json" for sha in [*manifest["labels"], *manifest["pool"]]]
    texts = [_folder() / "texts" / f"{manifest['texts']['sha256']}.npy"] if manifest["texts"] else []
    return [*own, *dict.fromkeys(parts), *texts]


def parts_of(rows: Iterable[Any]) -> list[list[Any]]:
    """Rows in parts of about MEAN_PART: where one ends depends on its own id alone. A row is an id or has an inquiry."""
    parts: list[list[Any]] = [[]]
    for row in rows:
        parts[-1].append(row)
        name = row if isinstance(row, str) else row["inquiry"]
        if int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % MEAN_PART == 0:
            parts.append([])
    return [part for part in parts if part]


def _store(project_id: int, manifest: dict[str, Any], last_settled_at: datetime | None) -> Snapshot:
    labels = len(manifest["labels"])
    if manifest["format"] > 1:
        named = {name: [_write_part(part) for part in parts_of(manifest[name])] for name in ("labels", "pool")}
        manifest = {**manifest, **named, "count": labels}
    content = msgspec.json.encode(manifest)
    sha = hashlib.sha256(content).hexdigest()
    _write_once(_folder() / f"{sha}.json", content)
    snapshot, _ = Snapshot.objects.get_or_create(
        project_id=project_id, sha256=sha,
        defaults={"encoder_sha": manifest["encoder"], "labels": labels, "last_settled_at": last_settled_at},
    )  # fmt: skip
    return snapshot


def _guidelines(project_id: int) -> dict[str, int]:
    """Category key → number of its newest guideline."""
    newest = Guideline.objects.filter(project_id=project_id).values("category__key").annotate(number=Max("number"))
    return dict(newest.order_by("category__key").values_list("category__key", "number"))


def _write_texts(texts: Texts) -> dict[str, Any] | None:
    if not len(texts):
        return None
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate([np.asarray(rows, np.float32) for rows in texts]), allow_pickle=False)
    sha = hashlib.sha256(buffer.getvalue()).hexdigest()
    _write_once(_folder() / "texts" / f"{sha}.npy", buffer.getvalue())
    return {"sha256": sha, "counts": [len(rows) for rows in texts]}


def _write_part(rows: list[Any]) -> str:
    content = msgspec.json.encode(rows)
    sha = hashlib.sha256(content).hexdigest()
    _write_once(_folder() / "parts" / f"{sha}.json", content)
    return sha


def _part(sha256: str) -> list[Any]:
    return list(msgspec.json.decode(_read(_folder() / "parts" / f"{sha256}.json", sha256)))


def _folder() -> Path:
    return Path(settings.ENSO_ARTIFACTS) / "snapshots"


def _read(path: Path, sha256: str) -> bytes:
    try:
        content = storage.local(path).read_bytes()
    except OSError as error:
        raise LookupError(f"{path.name[:12]} of a snapshot cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise LookupError(f"{path.name[:12]} of a snapshot was changed")
    return content


def _write_once(path: Path, content: bytes) -> None:
    if not storage.local(path).exists():
        storage.write(path, content)
