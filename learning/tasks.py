"""What wakes learning/: jobs, events of the outbox, and beat.

One training of a project runs at a time (its job is exclusive and fenced); each carries its reason: hand, labels, nightly,
taxonomy, erasure, or what a check's verdict found: accuracy, drop, drift (learning/verdicts.py).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from celery import shared_task
from django.db.models import Q
from django.utils import timezone

from feedback import jobs, outbox
from feedback.models import Job, JobState, OutboxEvent, Project
from labeling.models import Label
from learning.models import TrainingRun, TrainingSettings
from serving.models import ModelVersion


@jobs.handler("train", queue="learn")
def train(running: jobs.Running) -> dict[str, Any]:
    """Train, judge and promote a project's heads."""
    from learning.pipelines import train_project  # torch and onnx are loaded by the learner alone

    first_attempt = running.job.attempt == 1
    if first_attempt and running.job.params.get("if_due") and not _due(running.job.project_id, besides=running.job.pk):
        return {"runs": [], "why": "Another training has learned these labels meanwhile."}
    return train_project(running)


@jobs.handler("distill", queue="learn")
def distill(running: jobs.Running) -> dict[str, Any]:
    """Make a project's student anew."""
    from learning.students import distill_project  # torch is loaded by the learner alone

    return distill_project(running)


@jobs.handler("rescore", queue="learn")
def rescore(running: jobs.Running) -> dict[str, Any]:
    """Rank a project's open tasks with its strategy."""
    from learning.queueing import rescore_tasks

    return {"rescored": rescore_tasks(project_id=running.job.project_id)}


@jobs.handler("erase", queue="bulk")
def erase(running: jobs.Running) -> dict[str, Any]:
    """Erase a customer everywhere; the result is the receipt."""
    from learning.erasure import erase as erase_everywhere  # scipy is loaded by the learner alone

    return erase_everywhere(running)


@outbox.consumer("label.resolved", name="learning.new_labels")
def on_label(event: OutboxEvent) -> None:
    train_if_due(project_id=event.project_id)


@outbox.consumer("category.changed", name="learning.taxonomy")
def on_category(event: OutboxEvent) -> None:
    """A model that serves does not know the new categories: teach it at once."""
    if event.project_id and ModelVersion.objects.filter(project_id=event.project_id).exists():
        jobs.enqueue(kind="train", project_id=event.project_id, params={"reason": "taxonomy"})


@shared_task(name="learning.schedule_trainings")
def schedule_trainings() -> int:
    """Beat's safety net: train every project that has enough new labels, and those whose hour of the night it is."""
    projects = Project.objects.filter(archived_at=None).values_list("pk", flat=True)
    return sum(train_if_due(project_id=pk) for pk in projects) + train_nightly(now=timezone.now())


def train_nightly(*, now: datetime) -> int:
    """Enqueue the nightly training of each project once in its hour, if any label came since the last; returns how many."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    due = TrainingSettings.objects.filter(nightly_hour=now.hour, project__archived_at=None)
    begun = Job.objects.filter(kind="train", created_at__gte=hour, params__reason="nightly").values("project_id")
    ids = list(due.exclude(project_id__in=begun).values_list("project_id", flat=True))
    fresh = [pk for pk in ids if new_labels(project_id=pk)]
    for pk in fresh:
        jobs.enqueue(kind="train", project_id=pk, params={"reason": "nightly"})
    return len(fresh)


@jobs.handler("look_for_students", queue="learn")
def look_for_students(running: jobs.Running) -> dict[str, Any]:
    """Ask for a student where a project should have another one. The learner looks: it has the encoders open anyway."""
    from learning.students import due

    if (why := due(project_id=running.job.project_id)) is None:
        return {}
    jobs.enqueue(kind="distill", project_id=running.job.project_id)
    return {"why": why}


@shared_task(name="learning.schedule_students")
def schedule_students() -> int:
    """Beat: have every project in use looked at."""
    projects = list(Project.objects.filter(archived_at=None).values_list("pk", flat=True))
    for pk in projects:
        jobs.enqueue(kind="look_for_students", project_id=pk)
    return len(projects)


def train_if_due(*, project_id: int | None) -> bool:
    """Enqueue a training when `retrain_after_labels` labels came since the last one began."""
    if project_id is None or not _due(project_id):
        return False
    jobs.enqueue(kind="train", project_id=project_id, params={"if_due": True, "reason": "labels"})
    return True


def new_labels(*, project_id: int, besides: int = 0) -> int:
    """Labels settled since the last training began to collect them (the job `besides` is not looked at)."""
    begun = Q(state=JobState.RUNNING) | Q(pk__in=TrainingRun.objects.filter(project_id=project_id).values("job_id"))
    trainings = Job.objects.filter(begun, project_id=project_id, kind="train", started_at__isnull=False)
    last = trainings.exclude(pk=besides).order_by("-started_at").first()
    labels = Label.objects.filter(project_id=project_id, category__isnull=False)
    return labels.filter(settled_at__gt=last.started_at).count() if last else labels.count()


def _due(project_id: int, besides: int = 0) -> bool:
    threshold = Project.objects.values_list("retrain_after_labels", flat=True).get(pk=project_id)
    return new_labels(project_id=project_id, besides=besides) >= threshold
