"""Distilled encoders on disk and in the registry: where they lie, which serves, and the cascade that each is part of."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings
from django.db import transaction

from feedback.models import Project
from serving import storage
from serving.cascade import Step
from serving.encoder import EncoderError, StaticEncoder
from serving.engine import ServedHead
from serving.models import Cascade, Student, StudentStage

log = logging.getLogger(__name__)
MOST_OPEN = 64  # some 40 MB each: the longest unused gives way

_open: dict[str, StaticEncoder] = {}
_lock = threading.Lock()


def folder(encoder_sha: str) -> Path:
    """Where a student lies, by the sha256 of its variant."""
    return Path(settings.ENSO_ARTIFACTS) / "encoders" / encoder_sha


def opened(encoder_sha: str) -> StaticEncoder | None:
    """The student of this sha256, verified; None where there is none, or it is not what its name says."""
    with _lock:
        found = _open.pop(encoder_sha, None)
        if found is None and storage.local(folder(encoder_sha)).is_dir():
            found = _verified(encoder_sha)
        if found is not None:
            _open[encoder_sha] = found  # at the end: the order is that of use
            while len(_open) > MOST_OPEN:
                del _open[next(iter(_open))]
    return found


def _verified(encoder_sha: str) -> StaticEncoder | None:
    try:
        found = StaticEncoder.load(folder(encoder_sha))
    except EncoderError as error:
        log.error("a student is refused, the encoder that it was distilled from answers by itself: %s", error)
        return None
    return found if found.sha256 == encoder_sha else None


def teacher_of(encoder_sha: str) -> str | None:
    """The encoder that a student was distilled from; None for an encoder that is no student."""
    known = Student.objects.filter(encoder_sha=encoder_sha).values_list("teacher_sha", flat=True)
    return known.first()


def in_production(*, project_id: int) -> list[Student]:
    return list(Student.objects.filter(project_id=project_id, stage=StudentStage.PRODUCTION).order_by("pk"))


def register(student: Student, *, passed: bool) -> Student:
    """Keep a student, and let it take the place of the one before where it passed its gates.

    It answers nothing yet: that takes a head of its own and a cascade.
    """
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=student.project_id)
        same = Student.objects.filter(project_id=student.project_id)
        if (known := same.filter(encoder_sha=student.encoder_sha).first()) is not None:
            return known
        if passed:
            serving = same.filter(teacher_sha=student.teacher_sha, stage=StudentStage.PRODUCTION)
            serving.update(stage=StudentStage.ARCHIVED)
        student.stage = StudentStage.PRODUCTION if passed else StudentStage.REJECTED
        student.save(force_insert=True)
    return student


def steps(project_id: int, heads: Mapping[str, ServedHead]) -> dict[str, Step]:
    """The fast steps that may serve with these heads, by the encoder that each stands before.

    A pair of heads that no thresholds were chosen for has no step: the encoder then answers alone, as without a student.
    """
    rows = Cascade.objects.filter(student__project_id=project_id, student__stage=StudentStage.PRODUCTION)
    found: dict[str, Step] = {}
    for row in rows.select_related("student"):
        fast, slow = heads.get(row.student.encoder_sha), heads.get(row.student.teacher_sha)
        if fast is None or slow is None or (fast.model_id, slow.model_id) != (row.fast_id, row.slow_id):
            continue
        if fast.categories and (encoder := opened(row.student.encoder_sha)) is not None:
            step = Step(encoder, row.fast_id, row.slow_id, row.least_sure, row.least_known)
            found[row.student.teacher_sha] = step
    return found
