"""What wakes the learning of sentiment: beat, nightly and whenever enough rated comments have come."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from celery import shared_task
from django.conf import settings
from django.db.models import Exists, OuterRef
from django.utils import timezone

from feedback import jobs
from feedback.models import Event, Job, Project
from serving.models import CommentReading

KIND = "train_sentiment"
NIGHT = timedelta(hours=24)


@jobs.handler(KIND, queue="learn")
def train(running: jobs.Running) -> dict[str, Any]:
    """Learn, judge and promote the heads that read a project's comments."""
    from learning.sentiment import train_sentiment  # scipy, torch and onnx are loaded by the learner alone

    return train_sentiment(running)


@shared_task(name="learning.schedule_sentiment")
def schedule_sentiment() -> int:
    """Enqueue a training where `ENSO_SENTIMENT_PAIRS` rated comments came since the last, or any did and a day has passed."""
    return sum(train_if_due(project_id=pk) for pk in Project.objects.values_list("pk", flat=True))


def train_if_due(*, project_id: int) -> bool:
    last = jobs.last_begun(project_id=project_id, kind=KIND)
    waiting = new_pairs(project_id=project_id, since=last)
    a_day_ago = last is not None and last < timezone.now() - NIGHT
    if waiting < (1 if a_day_ago else settings.ENSO_SENTIMENT_PAIRS):
        return False
    tune = settings.ENSO_SENTIMENT_TUNING and not _tuned_lately(project_id)
    jobs.enqueue(kind=KIND, project_id=project_id, params={"tune": True} if tune else {})
    return True


def _tuned_lately(project_id: int) -> bool:
    """Tuning takes minutes: once a night at most."""
    tuned = Job.objects.filter(project_id=project_id, kind=KIND, params__tune=True)
    return tuned.filter(started_at__gt=timezone.now() - NIGHT).exists()


def new_pairs(*, project_id: int, since: datetime | None = None) -> int:
    """Comments read since then whose inquiry has a rating; what anonymous pages send wakes nobody."""
    readings = CommentReading.objects.filter(project_id=project_id, event__weight=1)
    if since is not None:
        readings = readings.filter(first_read_at__gt=since)
    rating = Event.objects.filter(inquiry_id=OuterRef("event__inquiry_id"), kind="rating", weight=1)
    return readings.filter(Exists(rating)).count()
