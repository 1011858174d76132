"""The live learning curve and what the next labels should bring: read from random draws alone, as they were answered.

A point is the versions that knew so many labels: of the blind audit draws that they answered, how many rightly, each draw
weighted by one over its propensity. So it says what customers get, not what the queue finds hard.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from django.db.models import F

from feedback.models import Project
from labeling.models import TaskKind, TaskState
from learning.core.stopping import Outlook, outlook
from serving.models import DecisionRecord

NEXT = 100  # labels that an outlook is about
SEED = 0  # the same points get the same interval


@dataclass(frozen=True)
class CurvePoint:
    """``right`` of ``total`` answers by versions trained on ``labels`` labels; a weighted sample counts for as many as it is worth."""

    labels: int
    right: float
    total: float


def curve(project: Project) -> list[CurvePoint]:
    """In the order of the labels; without versions that no label shaped, and without those that no draw has met."""
    drawn = DecisionRecord.objects.filter(
        inquiry__project=project, audit=True, propensity__gt=0, model__isnull=False,
        inquiry__task__kind=TaskKind.AUDIT, inquiry__task__state=TaskState.RESOLVED,
    )  # fmt: skip
    groups: dict[int, list[tuple[bool, float]]] = defaultdict(list)
    for lineage, said, right, propensity in drawn.values_list(
        "model__lineage", "category_id", F("inquiry__task__category_id"), "propensity"
    ):
        if labels := int(lineage.get("labels") or 0):
            groups[labels].append((said == right, 1.0 / propensity))
    return [CurvePoint(labels, *weighed(draws)) for labels, draws in sorted(groups.items())]


def weighed(draws: list[tuple[bool, float]]) -> tuple[float, float]:
    """Successes and trials of the simple sample that says as much: (hit, weight) → (share · n, n), n by Kish (1965)."""
    total = sum(w for _hit, w in draws)
    n = total**2 / sum(w * w for _hit, w in draws)
    return n * sum(w for hit, w in draws if hit) / total, n


def expected(points: list[CurvePoint]) -> Outlook:
    """What the next `NEXT` labels should bring, by these points of the curve."""
    counts, right, total = ([getattr(p, name) for p in points] for name in ("labels", "right", "total"))
    return outlook(counts, right, total, np.random.default_rng(SEED), labels=NEXT)
