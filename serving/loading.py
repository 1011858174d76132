"""Heads from disk as they serve: verified, without archived categories, with the weights of a delta, and those on trial."""

from __future__ import annotations

import logging
from dataclasses import replace

from django.db import connection

from serving.arms import Trial
from serving.artifacts import CorruptBundle
from serving.deltas import load as load_delta
from serving.engine import ServedHead
from serving.head import OnnxHead
from serving.models import ModelVersion, Rollout
from serving.registry import open_bundle
from serving.rollout_models import IN_PROGRESS

log = logging.getLogger(__name__)

_SIGNATURES = """
SELECT p.id, p.revision || ':' || coalesce(string_agg(m.id || m.manifest_sha, ',' ORDER BY m.id), '')
        || ':' || coalesce((SELECT string_agg(c.id::text, ',' ORDER BY c.id) FROM serving_cascade c
            JOIN serving_student s ON s.id = c.student_id WHERE s.project_id = p.id AND s.stage = 'production'), '')
        || ':' || coalesce((SELECT string_agg(v.id || v.manifest_sha, ',' ORDER BY v.id) FROM serving_policyversion v
            WHERE v.project_id = p.id AND v.stage = 'production'), '')
        || ':' || coalesce((SELECT string_agg(t.id || '-' || t.step, ',' ORDER BY t.id) FROM serving_policytrial t
            WHERE t.project_id = p.id AND t.state = 'running'), '')
        || ':' || coalesce((SELECT string_agg(r.id || '-' || r.step, ',' ORDER BY r.id) FROM serving_rollout r
            WHERE r.project_id = p.id AND r.state IN ('running', 'held')), ''),
    coalesce(string_agg(l.model_id || ':' || l.number || ':' || l.sha256, ',' ORDER BY m.id) FILTER (WHERE l.number > 0), '')
FROM feedback_project p LEFT JOIN serving_modelversion m ON m.project_id = p.id AND (m.stage = 'production'
    OR EXISTS (SELECT 1 FROM serving_rollout r WHERE r.candidate_id = m.id AND r.state IN ('running', 'held')))
LEFT JOIN serving_livestate l ON l.model_id = m.id
WHERE p.id = ANY(%s) GROUP BY p.id
"""


def signatures(project_ids: list[int]) -> dict[int, tuple[str, str]]:
    """What each project serves: settings and versions, and how far these have followed labels."""
    with connection.cursor() as cursor:
        cursor.execute(_SIGNATURES, [project_ids])
        return {pk: (signature, deltas) for pk, signature, deltas in cursor.fetchall()}


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
