"""States of challengers: rows and files. A file is written before the row that names it, under its own hash.

An erasure deletes the files of all that has learned a label of the customer, and bars their rows: the next training of the
method begins anew, with the labels that are left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from feedback.models import Fold
from learning.core.continual.state import Kept, from_bytes
from learning.models import ContinualState, RunState
from learning.snapshots import read_manifest
from serving import storage


@dataclass(frozen=True)
class Before:
    """Where a training goes on: the learner as it was, and by inquiry the category and revision that it has learned."""

    kept: Kept
    known: dict[str, tuple[str, int]]
    row: ContinualState


def latest(*, project_id: int, encoder_sha: str, method: str) -> Before | None:
    """The newest state that may be gone on from; None where there is none, or it is not whole.

    One whose version was stopped by a gate has learned something that should not have been learned: the one before it is
    taken, and the labels since then are learned again.
    """
    rows = ContinualState.objects.filter(project_id=project_id, encoder_sha=encoder_sha, method=method, barred="")
    row = rows.exclude(run__state__in=[RunState.REJECTED, RunState.RUNNING]).order_by("-pk").first()
    try:
        return None if row is None else before(row)
    except LookupError:
        return None


def before(row: ContinualState) -> Before:
    """Raises LookupError where the state, its snapshot or its version is gone or changed."""
    if row.barred:
        raise LookupError(f"the state {row.sha256[:12]} is barred: {row.barred}")
    if row.run.model is None:
        raise LookupError(f"the version of state {row.sha256[:12]} is gone")
    ids = row.run.model.lineage["category_ids"]
    labels = read_manifest(row.run.snapshot.sha256)["labels"]
    known = {
        r["inquiry"]: (str(ids[r["category"]]), int(r["revision"]))
        for r in labels
        if r["fold"] == Fold.TRAIN and r["category"] in ids
    }
    return Before(from_bytes(read(row.project_id, row.sha256)), known, row)


def write(project_id: int, data: bytes) -> str:
    """Keep a state durably; returns its hash."""
    sha = hashlib.sha256(data).hexdigest()
    storage.write(_path(project_id, sha), data)
    return sha


def read(project_id: int, sha256: str) -> bytes:
    """Raises LookupError where the file is gone or changed."""
    try:
        data = storage.local(_path(project_id, sha256)).read_bytes()
    except OSError as error:
        raise LookupError(f"the state {sha256[:12]} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise LookupError(f"the state {sha256[:12]} was changed")
    return data


def touched(*, project_id: int, snapshots: Collection[str]) -> list[ContinualState]:
    """States that were trained from these snapshots (starts of hashes), and all that were trained on from them."""
    rows = ContinualState.objects.filter(project_id=project_id).select_related("run__snapshot").order_by("pk")
    found: dict[int, ContinualState] = {}
    for row in rows:
        if row.run.snapshot.sha256[:12] in snapshots or row.parent_id in found:
            found[row.pk] = row
    return list(found.values())


def erase(*, project_id: int, snapshots: Collection[str]) -> list[ContinualState]:
    """Bar them, and delete every file of the project that no state is left to name; may be repeated."""
    gone = touched(project_id=project_id, snapshots=snapshots)
    ContinualState.objects.filter(pk__in=[row.pk for row in gone], barred="").update(
        barred="it has learned labels of a customer who was erased", items=0
    )
    named = set(ContinualState.objects.filter(project_id=project_id, barred="").values_list("sha256", flat=True))
    for name in storage.names(_folder(project_id)):
        if name.removesuffix(".state") not in named:
            storage.remove(_folder(project_id) / name)
    return gone


def _path(project_id: int, sha256: str) -> Path:
    return _folder(project_id) / f"{sha256}.state"


def _folder(project_id: int) -> Path:
    return Path(settings.ENSO_ARTIFACTS) / "continual" / str(project_id)
