"""What wakes labeling/: the judging of batches, the consensus, and the folding of counters."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from feedback import jobs
from labeling import counters, reviewing
from labeling.exchange import files
from labeling.models import Batch


@jobs.handler("labeling.close_batch")
def close_batch(running: jobs.Running) -> dict[str, Any]:
    """Judge a project's open batch when it is due, and let the band act on it."""
    return reviewing.close_batch(project_id=running.job.project_id)


@jobs.handler("labeling.consensus")
def consensus(running: jobs.Running) -> dict[str, Any]:
    """Settle what differs and waits for the weighted consensus."""
    return reviewing.settle_by_consensus(project_id=running.job.project_id)


@shared_task(name="labeling.keep_house")
def keep_house() -> None:
    """Beat's share: batches that are a week old are judged, the counters' differences become sums, old files go."""
    counters.fold()
    files.forget_expired()
    for project_id in Batch.objects.filter(closed_at=None).values_list("project_id", flat=True):
        jobs.enqueue(kind="labeling.close_batch", project_id=project_id)
