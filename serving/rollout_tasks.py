"""What moves rollouts by themselves: beat wakes it every half minute."""

from __future__ import annotations

import logging

from celery import shared_task

from serving import rollouts, shadow
from serving.models import Rollout
from serving.rollout_models import IN_PROGRESS

log = logging.getLogger(__name__)


@shared_task(name="serving.advance_rollouts")
def advance_rollouts() -> int:
    """Mirror what the shadows have not seen, and look at the evidence of every rollout; returns how many were looked at.

    One that fails does not keep the others: it is looked at again with the next beat, from where its rows are.
    """
    active = list(Rollout.objects.filter(IN_PROGRESS))
    for rollout in active:
        try:
            if rollout.course.shadow:
                shadow.mirror(rollout)
            rollouts.look(rollout_id=rollout.pk)
        except Exception:
            log.exception("rollout %s could not be looked at", rollout.pk)
    return len(active)
