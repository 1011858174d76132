"""What serving/ does after a commit and by the clock: the sentiment of comments, the days of the request log."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from feedback import jobs, outbox
from feedback import services as feedback_services
from feedback.models import Event, OutboxEvent
from serving import registry, request_log
from serving.comments import readers
from serving.models import CommentReading, SentimentStage, SentimentVersion

# Older comments than these keep the sentiment that they were given.
MOST_REREAD = 10_000
BATCH = 64


@shared_task(name="serving.keep_request_log")
def keep_request_log() -> dict[str, Any]:
    """Make the partitions of the days to come and drop those that are too old."""
    return request_log.keep(timezone.now().date())


@outbox.consumer("comment.received", name="serving.sentiment")
def score_comments(event: OutboxEvent) -> None:
    """Comments are stored without sentiment; this writes it back through feedback's service."""
    # Events that were published before 0071 of feedback's migrations name one comment.
    named = event.payload.get("events") or [event.payload["event"]]
    read_comments(list(Event.objects.filter(pk__in=named)))  # without those that were erased meanwhile


@outbox.consumer("sentiment.promoted", name="serving.reread")
def reread_later(event: OutboxEvent) -> None:
    """Scores follow the version in service: a job reads the comments that another one has read."""
    if event.project_id is not None:
        jobs.enqueue(kind="read_comments", project_id=event.project_id)


@outbox.consumer("model.promoted", name="serving.forget_vectors")
def forget_vectors(event: OutboxEvent) -> None:
    """Whom the new version replaces may be one that must not be kept."""
    if event.project_id is not None:
        registry.forget_vectors(project_id=event.project_id)


@jobs.handler("read_comments", queue="bulk")
def reread(running: jobs.Running) -> dict[str, Any]:
    """Read the newest comments anew that were not read by the version in production; resumes by itself."""
    stale = _stale(running.job.project_id)
    for start in range(0, len(stale), BATCH):
        running.report(start / len(stale), f"reading {start} of {len(stale)} comments")
        read_comments(list(Event.objects.filter(pk__in=stale[start : start + BATCH])))
    return {"read": len(stale)}


def read_comments(comments: list[Event]) -> None:
    """Write S of comments, all of one project, with the version that read them. Compute first, then write."""
    found = []
    for comment in comments:
        reader = readers.reader_of(comment.project_id, comment.text)
        found.append((comment, reader, float(reader.read([comment.text])[0])))
    for comment, reader, score in found:
        with transaction.atomic():
            if not Event.objects.select_for_update().filter(pk=comment.pk).exists():
                continue  # erased meanwhile
            feedback_services.write_sentiment(event_id=comment.pk, sentiment=score)
            CommentReading.objects.update_or_create(
                event_id=comment.pk, defaults={"project_id": comment.project_id, "version_id": reader.version_id,
                                               "encoder_sha": reader.variant},
            )  # fmt: skip


def _stale(project_id: int) -> list[Any]:
    """Ids of comments whose reading is not that of their encoder's version in production, newest first."""
    readings = CommentReading.objects.filter(project_id=project_id)
    production = SentimentVersion.objects.filter(project_id=project_id, stage=SentimentStage.PRODUCTION)
    serving = dict(production.values_list("encoder_sha", "pk"))
    other = Q(version__isnull=False) & ~Q(encoder_sha__in=serving)
    for sha, version in serving.items():
        other |= Q(encoder_sha=sha) & (Q(version=None) | ~Q(version=version))
    return list(
        readings.filter(other).order_by(F("first_read_at").desc()).values_list("event_id", flat=True)[:MOST_REREAD]
    )
