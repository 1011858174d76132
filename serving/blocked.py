"""A person found that a version must not go on serving: where it still does, the one before it comes back."""

from __future__ import annotations

import logging

from feedback import outbox
from feedback.models import OutboxEvent
from feedback.problems import Problem
from serving import registry
from serving.models import DecisionRecord, Stage

log = logging.getLogger(__name__)


@outbox.consumer("model.blocked", name="serving.block")
def withdraw_version(event: OutboxEvent) -> None:
    """Roll back from the version that answered the inquiry, and keep it from being promoted again.

    Where nothing has served before it, it stays: an unproven answer is still better than none, and the log says so.
    """
    record = DecisionRecord.objects.filter(inquiry_id=event.payload["inquiry"]).select_related("model").first()
    version = record.model if record else None
    if version is None or version.stage == Stage.REJECTED:
        return
    if version.stage == Stage.PRODUCTION:
        try:
            registry.rollback(project_id=version.project_id, encoder_sha=version.encoder_sha)
        except Problem as problem:
            if problem.kind != "nothing-to-roll-back-to":
                raise
            log.warning("version %s was blocked by a person, but nothing can take its place", version.number)
            return
    type(version).objects.filter(pk=version.pk).exclude(stage=Stage.PRODUCTION).update(stage=Stage.REJECTED)
