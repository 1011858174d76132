"""From rows to evidence: everything that the gates hold a candidate against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Fold, Inquiry
from labeling.models import LabelTask, TaskKind, TaskState
from learning.core.heads.training import TrainedHead
from learning.datasets import Dataset, Row, unlabeled
from learning.gates.evidence import Evidence, Judged, Labeled
from learning.gates.judge import judge
from learning.gates.result import Result
from learning.models import GateSettings
from learning.snapshots import read_manifest
from serving import registry
from serving.artifacts import CorruptBundle
from serving.encoder import EncoderError
from serving.head import OnnxHead
from serving.models import ModelVersion, Stage
from serving.served import served

TEXTS = 200
POOL = 500
PAST = 3
FIELDS = ("locale", "channel")


def judged(dataset: Dataset, head: TrainedHead, manifest_sha: str) -> tuple[Evidence | None, list[Result]]:
    """Every gate's result, judged by the bundle on disk. One that does not verify is not judged any further."""
    name, said = "integrity", "every byte of the bundle has the hash that its manifest states"
    try:
        version = ModelVersion(manifest_sha=manifest_sha)
        bundle = registry.open_bundle(version)
        opened = OnnxHead.load(bundle)
    except CorruptBundle as error:
        return None, [Result(name, False, None, None, str(error))]
    evidence = evidence_for(dataset, head, opened, bundle.size)
    return evidence, [Result(name, True, None, None, said), *judge(evidence)]


def evidence_for(dataset: Dataset, head: TrainedHead, opened: OnnxHead, size: int) -> Evidence:
    encoder = served.encoder_by_sha(dataset.encoder_sha)
    served.refresh()
    now = served.head(served.desk(dataset.project_id), encoder)
    test = [at for at, row in enumerate(dataset.rows) if row.fold == Fold.TEST]
    told = GateSettings.of(dataset.project_id)
    pool = unlabeled(project_id=dataset.project_id, encoder_sha=dataset.encoder_sha, limit=POOL)[1]
    return Evidence(
        head=opened,
        trained=Judged(
            "as trained", head.categories, lambda x: np.asarray(head.probabilities(x)), undecided=head.undecided
        ),
        bundle_bytes=size,
        train=_labeled(dataset, [at for at, row in enumerate(dataset.rows) if row.fold == Fold.TRAIN]),
        test=_labeled(dataset, test, texts=True),
        serving=Judged(now.name, now.categories, now.head.predict, learned=now.model_id is not None),
        thresholds=told.thresholds_in_force,
        checks=told.parsed_checks,
        encode=lambda texts: encoder.encode(texts),
        audited=_audited(dataset),
        past=_past(dataset),
        slices=_slices([dataset.rows[at] for at in test]),
        pool=pool if len(pool) else None,
    )


def _labeled(dataset: Dataset, at: Sequence[int], *, texts: bool = False) -> Labeled:
    """Rows of the dataset; with texts only where asked for, and then only as many as will be embedded anew."""
    rows = [dataset.rows[i] for i in at]
    found: list[str] = []
    if texts:
        ids = [row.inquiry for row in rows[:TEXTS]]
        known = dict(Inquiry.objects.filter(pk__in=ids).values_list("pk", "text"))
        found = [known.get(pk, "") for pk in ids]
    x = dataset.x[list(at)] if rows else np.zeros((0, dataset.x.shape[1]), np.float32)
    return Labeled(x, [row.category for row in rows], [row.group for row in rows], found)


def _audited(dataset: Dataset) -> Labeled:
    drawn = LabelTask.objects.filter(
        project_id=dataset.project_id, kind=TaskKind.AUDIT, state=TaskState.RESOLVED
    ).exclude(inquiry__fold=Fold.TRAIN)
    ids = set(drawn.values_list("inquiry_id", flat=True))
    return _labeled(dataset, [at for at, row in enumerate(dataset.rows) if row.inquiry in ids])


def _past(dataset: Dataset) -> dict[str, tuple[Judged, Labeled]]:
    """The last versions that served, each with the test labels of its own snapshot, as they are settled now."""
    versions = ModelVersion.objects.filter(
        project_id=dataset.project_id, encoder_sha=dataset.encoder_sha, stage__in=[Stage.PRODUCTION, Stage.ARCHIVED]
    )
    found = {}
    for version in versions.order_by("-number")[:PAST]:
        try:
            head = OnnxHead.load(registry.open_bundle(version))
            rows = read_manifest(version.lineage["data"])["labels"]
        except (CorruptBundle, LookupError, EncoderError):
            continue  # it cannot be compared with; the registry says so where it is looked at
        known = {row["inquiry"] for row in rows if row["fold"] == Fold.TEST}
        at = [n for n, row in enumerate(dataset.rows) if row.fold == Fold.TEST and str(row.inquiry) in known]
        name = f"v{version.number}"
        found[name] = (Judged.of(name, head), _labeled(dataset, at))
    return found


def _slices(rows: Sequence[Row]) -> dict[str, NDArray[np.bool_]]:
    """Which test rows have a value of a field, by "field=value": locale, channel, and plain values of the metadata."""
    inquiries = Inquiry.objects.filter(pk__in=[row.inquiry for row in rows])
    told = {pk: _values(rest) for pk, *rest in inquiries.values_list("pk", *FIELDS, "metadata")}
    names = sorted({name for values in told.values() for name in values})
    return {name: np.array([name in told.get(row.inquiry, set()) for row in rows], dtype=bool) for name in names[:100]}


def _values(fields: Sequence[Any]) -> set[str]:
    *plain, metadata = fields
    named: dict[str, Any] = dict(zip(FIELDS, plain, strict=True))
    if isinstance(metadata, Mapping):
        named |= {f"metadata.{key}": value for key, value in metadata.items()}
    return {f"{key}={value}" for key, value in named.items() if isinstance(value, str | bool | int) and value != ""}
