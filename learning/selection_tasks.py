"""What wakes selections over a whole queue: a job per part, one that picks, and beat's look at jobs that are over without a word."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from feedback import jobs


@jobs.handler("select", queue="bulk")
def select(running: jobs.Running) -> dict[str, Any]:
    """Begin a selection for each encoder variant."""
    from learning.selecting import begin  # sklearn and onnxruntime are loaded by the learner alone

    return {"selections": [found.pk for found in begin(project_id=running.job.project_id)]}


@jobs.handler("select_part", queue="bulk")
def look_at_a_part(running: jobs.Running) -> dict[str, Any]:
    """Look at one part of the queue; whoever tells the last asks for the picker."""
    from learning.selecting import look

    return look(running)


@jobs.handler("select_pick", queue="bulk")
def pick(running: jobs.Running) -> dict[str, Any]:
    """Pick from what the parts sent, and write the order of the queue."""
    from learning.selecting import pick as pick_from

    return pick_from(running)


@jobs.handler("look_after_selections", queue="bulk")
def look_after_selections(running: jobs.Running) -> dict[str, Any]:
    """End selections that wait for a job which is over."""
    from learning.selecting import look_after

    return {"ended": look_after()}


@shared_task(name="learning.schedule_selections")
def schedule_selections() -> int:
    """Beat: have selections looked at that wait for a job which is over."""
    from learning.models import Selection

    projects = list(Selection.lost().values_list("project_id", flat=True).distinct())
    for pk in projects:
        jobs.enqueue(kind="look_after_selections", project_id=pk)
    return len(projects)
