"""A person's own day in numbers, kept as answers come and go, so that no page has to count them."""

from __future__ import annotations

import statistics
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.utils import timezone

from labeling import hot
from labeling.models import Annotation, AnnotatorDay

# "Usual time" is the median of this many latest answers.
LATEST = 50

_ADD = """
INSERT INTO labeling_annotatorday (project_id, annotator_id, day, answers, skips, seconds, timed)
VALUES (%(project)s, %(annotator)s, %(day)s, %(answers)s, %(skips)s, %(seconds)s, %(timed)s)
ON CONFLICT (annotator_id, project_id, day) DO UPDATE SET answers = labeling_annotatorday.answers + excluded.answers,
    skips = labeling_annotatorday.skips + excluded.skips, seconds = labeling_annotatorday.seconds + excluded.seconds,
    timed = labeling_annotatorday.timed + excluded.timed
"""


def add(annotation: Annotation, *, project_id: int, sign: int = 1) -> None:
    """Count an answer on the day it was given, or (with `sign` −1) take it out again."""
    timed = annotation.seconds is not None
    _write(
        project_id, annotation.annotator_id, annotation.created_at, answers=sign, timed=sign * timed,
        seconds=sign * (annotation.seconds or 0.0),
    )  # fmt: skip


def add_skip(*, project_id: int, annotator_id: int, moment: datetime, sign: int = 1) -> None:
    _write(project_id, annotator_id, moment, skips=sign)


def _write(
    project_id: int, annotator_id: int, moment: datetime, *, answers: int = 0, skips: int = 0, seconds: float = 0.0,
    timed: int = 0,
) -> None:  # fmt: skip
    given = {"project": project_id, "annotator": annotator_id, "day": moment.astimezone(UTC).date()}
    hot.rows(_ADD, given | {"answers": answers, "skips": skips, "seconds": float(seconds), "timed": timed})


def statistics_of(*, project_id: int, annotator_id: int, days: int = 30) -> dict[str, Any]:
    """A person's last `days` days: one row each, oldest first, and what they add up to."""
    today = timezone.now().astimezone(UTC).date()
    rows = AnnotatorDay.objects.filter(
        project_id=project_id, annotator_id=annotator_id, day__gt=today - timedelta(days=days)
    )
    found = [_row(r) for r in rows.order_by("day")]
    return {
        "days": found,
        "answers": sum(r["answers"] for r in found),
        "skips": sum(r["skips"] for r in found),
        "median_seconds": usual_seconds(project_id=project_id, annotator_id=annotator_id),
    }


def _row(row: AnnotatorDay) -> dict[str, Any]:
    mean = row.seconds / row.timed if row.timed else None
    return {"day": row.day.isoformat(), "answers": row.answers, "skips": row.skips, "mean_seconds": mean}


def answered_on(*, project_id: int, annotator_id: int, day: date) -> int:
    own = AnnotatorDay.objects.filter(project_id=project_id, annotator_id=annotator_id, day=day)
    return own.values_list("answers", flat=True).first() or 0


def usual_seconds(*, project_id: int, annotator_id: int) -> float | None:
    """The median time of a person's latest answers; None where no time is known."""
    own = Annotation.objects.filter(annotator_id=annotator_id, task__project_id=project_id).order_by("-created_at")
    times = [s for s in own.values_list("seconds", flat=True)[:LATEST] if s is not None]
    return statistics.median(times) if times else None
