"""What has runs mirrored to MLflow: promotions and stagings at once, everything else by beat."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from feedback import jobs, outbox
from feedback.models import OutboxEvent, Project
from learning import mirroring


@jobs.handler("mlflow", queue="io")
def mirror(running: jobs.Running) -> dict[str, Any]:
    """Tell the MLflow server what it does not know of a project's runs."""
    return mirroring.mirror(running)


def _on_version(event: OutboxEvent) -> None:
    if mirroring.enabled() and event.project_id is not None:
        jobs.enqueue(kind="mlflow", project_id=event.project_id)


for _kind in ("model.promoted", "model.staged"):
    outbox.consumer(_kind, name="learning.mlflow")(_on_version)


@shared_task(name="learning.schedule_mirrors")
def schedule_mirrors() -> int:
    """Beat: a job for each project with runs that have moved; returns how many. A server that was away is tried again."""
    if not mirroring.enabled():
        return 0
    projects = Project.objects.filter(archived_at=None).values_list("pk", flat=True)
    due = [pk for pk in projects if mirroring.waiting(pk)]
    for pk in due:
        jobs.enqueue(kind="mlflow", project_id=pk)
    return len(due)
