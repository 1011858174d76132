"""What wakes searches: a job per trial, and beat's look at trials whose jobs are over without a word."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from feedback import jobs


@jobs.handler("trial", queue="learn")
def try_options(running: jobs.Running) -> dict[str, Any]:
    """Try one set of options; whoever ends a generation asks for the next."""
    from learning.searches import run_trial  # torch and optuna are loaded by the learner alone

    return run_trial(running)


@jobs.handler("look_after_searches", queue="learn")
def look_after_searches(running: jobs.Running) -> dict[str, Any]:
    """Let trials fail whose jobs have died. The learner looks, for what follows proposes options."""
    from learning.searches import look_after  # torch and optuna are loaded by the learner alone

    return {"failed": look_after(project_id=running.job.project_id)}


@shared_task(name="learning.schedule_searches")
def schedule_searches() -> int:
    """Beat: have each search looked at that waits for a trial whose job is over."""
    from learning.models import Search

    projects = list(Search.lost().values_list("project_id", flat=True).distinct())
    for pk in projects:
        jobs.enqueue(kind="look_after_searches", project_id=pk)
    return len(projects)
