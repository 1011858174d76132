"""What wakes drift checks and the loop guard: beat, new inquiries, people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import shared_task
from django.utils import timezone

from feedback import jobs
from feedback.models import Inquiry, Job, Project
from learning.looks import MOST_LOOKS, looks_made
from learning.models import DriftReport, DriftSettings, Trigger

DRIFT, GUARD = "drift", "guard"
DAY = timedelta(days=1)
LOOK_AGAIN = timedelta(minutes=1)
FEWEST_NEW = 50  # a window that is all but the last one teaches nothing
FIRST = 250  # inquiries of a reference and a window, the smallest there are


@jobs.handler(DRIFT, queue="learn")
def check_drift(running: jobs.Running) -> dict[str, Any]:
    """Check each encoder variant of a project, judge, and measure the loop."""
    from learning.drift_jobs import check_project  # scipy is loaded by the learner alone

    return check_project(running)


@jobs.handler(GUARD, queue="learn")
def check_guard(running: jobs.Running) -> dict[str, Any]:
    """Measure how much the labels of a project are the model's own opinion."""
    from learning.drift_jobs import guard_project

    return {"guard": guard_project(running)}


@shared_task(name="learning.schedule_drift")
def schedule_drift() -> int:
    """Enqueue a check where a day has passed, or enough inquiries have come, since the last one."""
    projects = Project.objects.filter(archived_at=None).values_list("pk", flat=True)
    return sum(check_if_due(project_id=pk) for pk in projects)


def check_if_due(*, project_id: int) -> bool:
    trigger = due(project_id=project_id)
    if trigger is None:
        return False
    ask(project_id=project_id, trigger=trigger)
    return True


def ask(*, project_id: int, trigger: str = Trigger.HAND) -> Job:
    """Enqueue a check."""
    return jobs.enqueue(kind=DRIFT, project_id=project_id, params={"trigger": trigger})


def due(*, project_id: int) -> str | None:
    """Why a check is due now, or None."""
    # A check that found too little to compare left no report: it is not tried again with every beat.
    lately = Job.objects.filter(project_id=project_id, kind=DRIFT, created_at__gt=timezone.now() - LOOK_AGAIN)
    if lately.exists():
        return None
    last = DriftReport.objects.filter(project_id=project_id).order_by("-created_at").first()
    if last is None:
        return _first(project_id)
    after = DriftSettings.of(project_id).check_after
    if _as_many_since(project_id, last, after) and looks_made(project_id) < MOST_LOOKS:
        return Trigger.INQUIRIES
    if last.created_at < timezone.now() - DAY and _as_many_since(project_id, last, FEWEST_NEW):
        return Trigger.DAILY
    return None


def _first(project_id: int) -> str | None:
    """Before the first report: once there is enough to compare, and then with every few more."""
    tried = Job.objects.filter(project_id=project_id, kind=DRIFT).order_by("-created_at").first()
    own = Inquiry.objects.filter(project_id=project_id)
    new, fewest = (own.filter(received_at__gt=tried.created_at), FEWEST_NEW) if tried else (own, FIRST)
    return Trigger.INQUIRIES if len(new.values_list("pk")[:fewest]) >= fewest else None


def _as_many_since(project_id: int, last: DriftReport, count: int) -> bool:
    new = Inquiry.objects.filter(project_id=project_id, received_at__gt=last.ends)
    return len(new.values_list("pk")[:count]) >= count
