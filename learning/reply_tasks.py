"""What wakes the learning of replies: beat, nightly and whenever enough votes have come. Torch is loaded by the learner alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from feedback import jobs
from feedback.models import Event
from labeling.models import ComparisonAnswer
from serving.models import PolicyStage, PolicyVersion

KIND = "learn_replies"
NIGHT = timedelta(hours=24)


@jobs.handler(KIND, queue="learn")
def learn(running: jobs.Running) -> dict[str, Any]:
    """Learn, judge and promote a project's reply policies."""
    from learning.replies import learn_replies

    return learn_replies(running)


@shared_task(name="learning.schedule_replies")
def schedule_replies() -> int:
    """Enqueue a learning where `ENSO_REPLY_VOTES` votes and comparisons came since the last, or any did and a day has passed."""
    serving = PolicyVersion.objects.filter(stage=PolicyStage.PRODUCTION).values_list("project_id", flat=True)
    return sum(learn_if_due(project_id=pk) for pk in serving.distinct())


def learn_if_due(*, project_id: int) -> bool:
    last = jobs.last_begun(project_id=project_id, kind=KIND)
    votes = Event.objects.filter(
        project_id=project_id, kind__in=["thumbs", "rating"], weight=1, inquiry__shown__isnull=False
    )
    compared = ComparisonAnswer.objects.filter(comparison__project_id=project_id, slot__isnull=False)
    if last is not None:
        votes, compared = votes.filter(received_at__gt=last), compared.filter(created_at__gt=last)
    needed = 1 if last is not None and last < timezone.now() - NIGHT else settings.ENSO_REPLY_VOTES
    if votes[:needed].count() + compared[:needed].count() < needed:
        return False
    jobs.enqueue(kind=KIND, project_id=project_id)
    return True
