"""What wakes topics: beat (arrivals every minute, a run a night), people, and new comments."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import shared_task
from django.db.models import Q
from django.utils import timezone

from feedback import jobs
from feedback.models import Job, Project
from learning import topic_arrivals
from learning.models import Topic, TopicMember
from learning.topic_texts import comments, doubtful

KIND = "topics"
SPLIT = "split_topic"
NIGHT = timedelta(hours=24)
FIRST = 200  # texts that are worth a first map; a person may ask for it with fewer


@jobs.handler(KIND, queue="learn")
def find_topics(running: jobs.Running) -> dict[str, Any]:
    """Find a project's topics, or extend or re-fit them."""
    from learning.topic_runs import run_topics  # umap, numba and hdbscan are loaded by the learner alone

    return run_topics(running)


@jobs.handler(SPLIT, queue="learn")
def split_topic(running: jobs.Running) -> dict[str, Any]:
    """Split one topic in two, as a person asked."""
    from learning.topic_splits import run_split  # scipy is loaded by the learner alone

    return run_split(running)


@shared_task(name="learning.place_arrivals")
def place_arrivals() -> int:
    """Give the latest texts of every project with topics theirs."""
    projects = Topic.objects.filter(died_at=None).values_list("project_id", flat=True).distinct()
    return sum(topic_arrivals.place_arrivals(project_id=pk) for pk in projects)


@shared_task(name="learning.schedule_topics")
def schedule_topics() -> int:
    """Enqueue a run where a day has passed since the last and texts came, or where there are enough for a first map."""
    return sum(
        run_if_due(project_id=pk) for pk in Project.objects.filter(archived_at=None).values_list("pk", flat=True)
    )


def run_if_due(*, project_id: int) -> bool:
    last = jobs.last_begun(project_id=project_id, kind=KIND)
    if last is not None and last > timezone.now() - NIGHT:
        return False
    if Job.objects.filter(project_id=project_id, kind=KIND, state__in=jobs.UNFINISHED).exists():
        return False
    if not (due := _texts_waiting(project_id)):
        return False
    jobs.enqueue(kind=KIND, project_id=project_id)
    return due


def _texts_waiting(project_id: int) -> bool:
    """Something new where there are topics; else enough for a first map."""
    needed = 1 if Topic.objects.filter(project_id=project_id, died_at=None).exists() else FIRST
    loose = TopicMember.objects.filter(Q(settled=False), project_id=project_id)[:needed].count()
    loose += comments(project_id=project_id).filter(topic_members=None)[:needed].count()
    loose += doubtful(project_id=project_id).filter(topic_members=None).values("pk").distinct()[:needed].count()
    return loose >= needed
