"""What a drift check reads: the reference of an encoder variant, the newest texts after it, and their embeddings.

The reference is what the version in production could have learned from, so that a window is judged by what has changed
since. It stays until another version goes live, or until an erasure has taken texts out of it.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Inquiry
from labeling.models import Label
from learning import evidence
from learning.core.drift.head import DriftHead, answers
from learning.core.drift.reference import Reference, Window
from learning.models import DriftReference, DriftReport, DriftSettings, TrainingRun
from serving.engine import from_bytes
from serving.models import Embedding, ModelVersion, Stage

SMALLEST_REFERENCE = 200
# Sizes that windows are cut to, so that one calibration serves many of them.
SIZES = (50, 100, 200, 500, 1_000, 2_000, 4_000)
FEWEST_LABELS = 50  # below, the test's own head says too little
CHUNK = 5_000


@dataclass(frozen=True)
class Texts:
    """Inquiries with their unit embeddings (n, d), in the order of their arrival."""

    ids: list[uuid.UUID]
    x: NDArray[np.float32]


@dataclass(frozen=True)
class Evidence:
    """A reference with its head, ready to judge windows. ``classes`` are category keys, none where it has no head."""

    row: DriftReference
    texts: Texts
    classes: tuple[str, ...]
    head: DriftHead | None
    predictions: NDArray[np.int64] | None
    doubt: NDArray[np.float32] | None

    @cached_property
    def reference(self) -> Reference:
        return self.part(np.arange(len(self.texts.ids)))

    @property
    def seed(self) -> int:
        return int(self.row.sha256[:7], 16)

    def part(self, rows: NDArray[np.int64]) -> Reference:
        """The reference, or a slice of it."""
        if self.predictions is None or self.doubt is None:
            return Reference(self.texts.x[rows], seed=self.seed)
        return Reference(
            self.texts.x[rows], predictions=self.predictions[rows], strangeness=self.doubt[rows],
            classes=len(self.classes), seed=self.seed,
        )  # fmt: skip

    def window(self, texts: Texts) -> Window:
        if self.head is None:
            return Window(texts.x)
        return Window(texts.x, *answers(self.head.scores(texts.x)))


def encoders_in_use(*, project_id: int) -> list[str]:
    """Encoder variants that have read inquiries of a project."""
    rows = Embedding.objects.filter(inquiry__project_id=project_id)
    return sorted(rows.values_list("encoder_sha", flat=True).distinct())


def reference_for(*, project_id: int, encoder_sha: str) -> Evidence | None:
    """The reference in force, made where there is none yet; None while there are too few texts."""
    serving = ModelVersion.objects.filter(
        project_id=project_id, encoder_sha=encoder_sha, stage=Stage.PRODUCTION
    ).first()
    known = DriftReference.objects.filter(project_id=project_id, encoder_sha=encoder_sha, model=serving)
    row = known.order_by("-pk").first()
    if row is not None and (found := rebuilt(row)) is not None:
        return found
    return _made(project_id, encoder_sha, serving, row)


def rebuilt(row: DriftReference) -> Evidence | None:
    """The reference from its manifest; None where texts of it were erased since, or its manifest is gone."""
    try:
        manifest = evidence.read(row.sha256)
    except LookupError:
        return None
    texts = texts_of([uuid.UUID(i) for i in manifest["inquiries"]], row.encoder_sha)
    if digest_of(texts.x) != row.embeddings_sha256:
        return None
    return _evidence(row, texts, manifest)


def kept(row: DriftReport) -> tuple[Evidence, Texts]:
    """The reference and the window of a report. LookupError where texts of them were erased since."""
    known = rebuilt(row.reference)
    if known is None:
        raise LookupError("the reference is not what it was: texts were erased since")
    texts = texts_of([uuid.UUID(i) for i in evidence.read(row.window)["inquiries"]], row.encoder_sha)
    if len(texts.ids) != row.n:
        raise LookupError(f"{row.n - len(texts.ids)} texts of the window were erased since")
    return known, texts


def _made(
    project_id: int, encoder_sha: str, serving: ModelVersion | None, before: DriftReference | None
) -> Evidence | None:
    # After an erasure the reference is made anew up to the same moment: windows must not move into it.
    ids = _known_texts(project_id, encoder_sha, before.upto if before is not None else _learned_upto(serving))
    if len(ids) < SMALLEST_REFERENCE:
        return None
    texts, manifest = texts_of(ids, encoder_sha), _manifest(encoder_sha, ids)
    row, _ = DriftReference.objects.update_or_create(
        project_id=project_id, sha256=evidence.keep(manifest),
        defaults={"model": serving},
        create_defaults={
            "encoder_sha": encoder_sha, "embeddings_sha256": digest_of(texts.x), "size": len(texts.ids), "model": serving,
            "labels": len(manifest["labels"]), "upto": before.upto if before is not None else _arrival(texts.ids),
        },
    )  # fmt: skip
    return _evidence(row, texts, manifest)


def _known_texts(project_id: int, encoder_sha: str, upto: datetime | None) -> list[uuid.UUID]:
    """The newest texts up to that moment, oldest first; where these are few, the first that ever came."""
    size = DriftSettings.of(project_id).reference_size
    rows = Embedding.objects.filter(inquiry__project_id=project_id, encoder_sha=encoder_sha)
    learned = rows.filter(inquiry__received_at__lte=upto) if upto is not None else rows.none()
    newest = learned.order_by("-inquiry__received_at", "-inquiry_id").values_list("inquiry_id", flat=True)
    ids = list(newest[:size])[::-1]
    if len(ids) >= SMALLEST_REFERENCE:
        return ids
    first = rows.order_by("inquiry__received_at", "inquiry_id").values_list("inquiry_id", flat=True)
    return list(first[:SMALLEST_REFERENCE])


def _manifest(encoder_sha: str, ids: Sequence[uuid.UUID]) -> dict[str, Any]:
    """What the reference is made of: everything else about it follows from these ids and labels."""
    labels = _labels_of(ids)
    classes = sorted(set(labels.values()))
    known = len(labels) >= FEWEST_LABELS and len(classes) > 1
    return {
        "format": 1, "encoder": encoder_sha, "inquiries": [str(i) for i in ids],
        "labels": {str(i): labels[i] for i in ids if i in labels} if known else {}, "classes": classes if known else [],
    }  # fmt: skip


def _learned_upto(serving: ModelVersion | None) -> datetime | None:
    """When the training of the version began: it can have seen what had arrived by then."""
    if serving is None:
        return None
    run = TrainingRun.objects.filter(model=serving).order_by("-pk").first()
    return run.created_at if run is not None else serving.created_at


def _arrival(ids: Sequence[uuid.UUID]) -> datetime:
    return Inquiry.objects.filter(pk__in=ids).order_by("-received_at").values_list("received_at", flat=True)[0]


def _labels_of(ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    found: dict[uuid.UUID, str] = {}
    for at in range(0, len(ids), CHUNK):
        rows = Label.objects.filter(inquiry_id__in=ids[at : at + CHUNK], category__isnull=False)
        found |= dict(rows.values_list("inquiry_id", "category__key"))
    return found


def _evidence(row: DriftReference, texts: Texts, manifest: dict[str, Any]) -> Evidence:
    classes = tuple(manifest["classes"])
    if not classes:
        return Evidence(row, texts, (), None, None, None)
    index = {key: n for n, key in enumerate(classes)}
    place = {str(pk): n for n, pk in enumerate(texts.ids)}
    labels = {place[i]: index[key] for i, key in manifest["labels"].items()}
    rows = np.array(list(labels), dtype=np.int64)
    head = DriftHead(texts.x[rows], np.array(list(labels.values()), dtype=np.int64), len(classes))
    scores = head.scores(texts.x)
    scores[rows] = head.scores_without(scores[rows])
    return Evidence(row, texts, classes, head, *answers(scores))


def newest_after(known: Evidence, *, most: int) -> Texts | None:
    """The window: the newest texts after the reference, as many as a size of SIZES allows; None while there are too few."""
    row = known.row
    after = Embedding.objects.filter(
        inquiry__project_id=row.project_id, encoder_sha=row.encoder_sha, inquiry__received_at__gt=row.upto
    ).order_by("-inquiry__received_at", "-inquiry_id")
    ids = list(after.values_list("inquiry_id", flat=True)[: min(most, len(known.texts.ids) // 2)])
    fits = [n for n in SIZES if n <= len(ids)]
    return texts_of(ids[: fits[-1]][::-1], row.encoder_sha) if fits else None


def texts_of(ids: Sequence[uuid.UUID], encoder_sha: str) -> Texts:
    """Embeddings of these inquiries in this order; those that are no more are left out."""
    found: dict[uuid.UUID, bytes] = {}
    for at in range(0, len(ids), CHUNK):
        rows = Embedding.objects.filter(inquiry_id__in=ids[at : at + CHUNK], encoder_sha=encoder_sha)
        found |= {pk: bytes(vector) for pk, vector in rows.values_list("inquiry_id", "vector")}
    kept = [pk for pk in ids if pk in found]
    return Texts(kept, from_bytes([found[pk] for pk in kept]) if kept else np.zeros((0, 1), np.float32))


def digest_of(x: NDArray[np.float32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(x, dtype=np.float32).tobytes()).hexdigest()
