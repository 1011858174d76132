"""Where a training that was killed goes on: the labels that it began with, and the head if it had been fitted.

The checkpoint of the job names both by hash. It is used only while the labels are still what they were; a training that
has been overtaken by labels begins anew, with the new ones.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings

from feedback import jobs
from feedback.models import Job
from learning.core.heads import saved
from learning.core.heads.training import TrainedHead
from learning.datasets import Dataset
from learning.models import Snapshot
from learning.restoring import restore
from learning.snapshots import Material
from serving.artifacts import write_file


def labels_digest(dataset: Dataset) -> str:
    """Tells whether labels, weights and texts are the same."""
    rows = [(str(r.inquiry), r.category, r.fold, r.weight, r.revision, r.text_sha) for r in dataset.rows]
    return hashlib.sha256(msgspec.json.encode(rows)).hexdigest()


def begun(running: jobs.Running, dataset: Dataset) -> tuple[Material, Snapshot] | None:
    """What an earlier attempt began with, if the labels are still the same and nothing of it was erased."""
    known = running.job.checkpoint.get(dataset.encoder_sha)
    if known is None or known["labels"] != labels_digest(dataset):
        return None
    snapshot = Snapshot.objects.filter(project_id=dataset.project_id, sha256=known["snapshot"]).first()
    try:
        restored = restore(snapshot) if snapshot else None
    except LookupError:
        return None
    return (restored.material, snapshot) if restored and snapshot and restored.whole else None


def keep_snapshot(running: jobs.Running, dataset: Dataset, snapshot: Snapshot) -> None:
    known = {"labels": labels_digest(dataset), "snapshot": snapshot.sha256}
    running.save_checkpoint({**running.job.checkpoint, dataset.encoder_sha: known})


def keep_head(running: jobs.Running, encoder_sha: str, head: TrainedHead) -> None:
    """Durable before the checkpoint names it."""
    data = saved.to_bytes(head)
    write_file(_path(running, encoder_sha), data)
    known = {**running.job.checkpoint[encoder_sha], "head": hashlib.sha256(data).hexdigest()}
    running.save_checkpoint({**running.job.checkpoint, encoder_sha: known})


def kept_head(running: jobs.Running, encoder_sha: str, snapshot: Snapshot) -> TrainedHead | None:
    """The head that an earlier attempt fitted to this snapshot; None where there is none, or not as this release keeps it."""
    known = running.job.checkpoint.get(encoder_sha, {})
    if known.get("snapshot") != snapshot.sha256 or "head" not in known:
        return None
    try:
        data = _path(running, encoder_sha).read_bytes()
        return saved.from_bytes(data) if hashlib.sha256(data).hexdigest() == known["head"] else None
    except (OSError, ValueError):
        return None


def keep_state(running: jobs.Running, encoder_sha: str, told: dict[str, Any]) -> None:
    """What a challenger's fit gave: the hash of its state, which lies on the disk by now, and what it was fitted from."""
    known = {**running.job.checkpoint[encoder_sha], "challenger": told}
    running.save_checkpoint({**running.job.checkpoint, encoder_sha: known})


def kept_state(running: jobs.Running, encoder_sha: str, fitted_from: dict[str, Any]) -> dict[str, Any] | None:
    """What an earlier attempt kept, where it was fitted from the same; else None."""
    told = running.job.checkpoint.get(encoder_sha, {}).get("challenger")
    return told if told is not None and told["from"] == fitted_from else None


def forget(running: jobs.Running, encoder_sha: str) -> None:
    _path(running, encoder_sha).unlink(missing_ok=True)


def forget_all(*, project_id: int) -> int:
    """Delete the heads that interrupted trainings of a project have kept: they may hold vectors of its texts. Such a training fits anew
    what it had fitted. Returns how many there were."""
    jobs_of = Job.objects.filter(project_id=project_id, kind="train").exclude(checkpoint={})
    found = [path for pk in jobs_of.values_list("pk", flat=True) for path in _folder().glob(f"{pk}-*.head")]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def _path(running: jobs.Running, encoder_sha: str) -> Path:
    return _folder() / f"{running.job.pk}-{encoder_sha[:16]}.head"


def _folder() -> Path:
    return Path(settings.ENSO_ARTIFACTS) / "checkpoints"
