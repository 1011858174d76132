"""Heads from disk as they serve: verified, without archived categories, with the weights of a delta, and those on trial."""

from __future__ import annotations

import logging
from dataclasses import replace

from serving.arms import Trial
from serving.artifacts import CorruptBundle
from serving.deltas import load as load_delta
from serving.engine import ServedHead
from serving.head import OnnxHead
from serving.models import ModelVersion, Rollout
from serving.registry import open_bundle
from serving.rollout_models import IN_PROGRESS

log = logging.getLogger(__name__)


def trials(project_id: int, categories: frozenset[str], refused: dict[int, str]) -> dict[str, Trial]:
    """The candidates of the project's rollouts; one that does not verify is put into `refused`, and nobody gets it."""
    found: dict[str, Trial] = {}
    for rollout in Rollout.objects.filter(IN_PROGRESS, project_id=project_id).select_related("candidate"):
        try:
            head = opened(rollout.candidate, categories)
        except CorruptBundle as error:
            refused[rollout.candidate_id] = str(error)
            log.error("the candidate of rollout %s is refused: %s", rollout.pk, error)
            continue
        found[rollout.encoder_sha] = Trial(rollout.pk, rollout.salt, rollout.course.percent, head)
    return found


def opened(version: ModelVersion, categories: frozenset[str]) -> ServedHead:
    """The head of a version, verified. Raises CorruptBundle."""
    head = known(OnnxHead.load(open_bundle(version)), categories)
    return ServedHead(head, head.categories, f"v{version.number}", version.pk, version.manifest_sha)


def moved(served_head: ServedHead, wanted: tuple[int, str] | None, categories: frozenset[str]) -> ServedHead:
    """The head with the weights of a newer delta, itself where there is none. Raises CorruptBundle, ValueError."""
    if wanted is None or wanted[0] <= served_head.delta or not isinstance(served_head.head, OnnxHead):
        return served_head
    delta = load_delta(manifest_sha=served_head.manifest_sha, number=wanted[0], sha256=wanted[1])
    head = known(served_head.head.with_delta(delta), categories)
    return replace(served_head, head=head, categories=head.categories, delta=wanted[0])


def known(head: OnnxHead, categories: frozenset[str]) -> OnnxHead:
    """The head without categories that the project has archived: nothing is answered with them."""
    at = [i for i, key in enumerate(head.categories) if key in categories]
    if not at or len(at) == len(head.categories):
        return head
    return head.with_weights(head.weights[:, at], head.bias[at], categories=[head.categories[i] for i in at])
