"""Celery tasks of the shared mechanisms: each is a wake-up for work whose truth lies in PostgreSQL."""

from __future__ import annotations

import logging
from typing import Any

from celery import shared_task
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from feedback import ingest, jobs, notices, outbox, score_fold

log = logging.getLogger(__name__)


def send_quietly(task: Any, *args: Any, queue: str = "io") -> None:
    """Send a wake-up; a broker that is away costs one beat of delay and no work, so it is logged and nothing else."""
    try:
        task.apply_async(args=args, queue=queue, retry=False, ignore_result=True)
    except (OperationalError, RedisError, OSError) as error:
        log.warning("broker is away (%s): the sweeper will wake this work", error)


@shared_task(name="feedback.relay_outbox")
def relay_outbox() -> int:
    """Drain the outbox."""
    total = 0
    while handled := outbox.relay():
        total += handled
    return total


@shared_task(name="feedback.send_notices")
def send_notices() -> int:
    """Send the webhook notices that are due."""
    return notices.send_due()


@shared_task(name="feedback.run_job")
def run_job(job_id: int) -> None:
    """Run one job, when it is still waiting."""
    jobs.run(job_id)


@shared_task(name="feedback.sweep_jobs")
def sweep_jobs() -> int:
    """Re-send lost jobs."""
    return jobs.sweep()


@shared_task(name="feedback.fold_scores")
def fold_scores() -> int:
    """Fold what events say into scores, and join events that missed their inquiry."""
    ingest.join_missed()
    total = 0
    for project_id in score_fold.projects_waiting():
        while folded := score_fold.fold_project(project_id):
            total += folded
    return total


@shared_task(name="feedback.sweep_orphans")
def sweep_orphans() -> int:
    """Delete events whose inquiry was erased while they were being stored."""
    return ingest.sweep_orphans()
