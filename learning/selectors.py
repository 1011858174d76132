"""What the loop-health page shows: how long feedback takes to reach the live model, and what waits where."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, F, Min, Q, QuerySet
from django.utils import timezone

from feedback.models import Inquiry, Job, JobState, Project
from labeling.models import (
    Escalation,
    EscalationState,
    Label,
    LabelTask,
    Slot,
    SlotRole,
    SlotState,
    TaskKind,
    TaskState,
)
from learning.core.maturity import Maturity, maturity, recoveries
from learning.models import DriftReport, DriftState, RetrainingVerdict, RunState, TrainingRun
from serving.models import DecisionRecord, LateAnswer, LiveState, ModelVersion, Rollout, RolloutState, Stage

Z95 = 1.959963984540054
# Fewer audited answers than this say too little about accuracy to show a figure without a warning.
ENOUGH_AUDITED = 30


@dataclass(frozen=True)
class Wilson:
    """A share with its 95 % interval (Wilson 1927), which stays within [0, 1] and holds for small counts."""

    hits: float
    n: float
    value: float
    low: float
    high: float

    @property
    def enough(self) -> bool:
        return self.n >= ENOUGH_AUDITED

    @property
    def drawn(self) -> dict[str, str]:
        """Value, left end and width on a scale of 100, as SVG attributes (never in a locale's own number format)."""
        return {
            "value": f"{100 * self.value:.2f}",
            "low": f"{100 * self.low:.2f}",
            "width": f"{100 * (self.high - self.low):.2f}",
        }


def wilson(hits: float, n: float) -> Wilson | None:
    """None without any observation. Counts may be fractional: effective ones of a weighted sample.

    >>> w = wilson(8, 10); round(w.low, 3), round(w.high, 3)
    (0.49, 0.943)
    """
    if n == 0:
        return None
    p, z2 = hits / n, Z95**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Wilson(hits, n, p, max(middle - half, 0.0), min(middle + half, 1.0))


# Labels that the newest promotion was the first to know: settled after the snapshot of the promotion before it.
_JOURNEY = """
WITH promoted AS (
    SELECT r.encoder_sha, r.created_at AS began, r.finished_at AS ended, m.promoted_at, s.last_settled_at AS upto,
           lag(s.last_settled_at) OVER (PARTITION BY r.encoder_sha ORDER BY m.promoted_at) AS since,
           row_number() OVER (ORDER BY m.promoted_at DESC) AS nth
    FROM learning_trainingrun r JOIN serving_modelversion m ON m.id = r.model_id
    JOIN learning_snapshot s ON s.id = r.snapshot_id
    WHERE r.project_id = %s AND m.promoted_at IS NOT NULL AND r.finished_at IS NOT NULL),
taught AS (
    SELECT i.received_at, t.created_at AS queued_at, l.settled_at, p.began, p.ended, p.promoted_at
    FROM promoted p
    JOIN labeling_label l ON l.project_id = %s AND l.settled_at <= p.upto AND (p.since IS NULL OR l.settled_at > p.since)
    JOIN feedback_inquiry i ON i.id = l.inquiry_id JOIN labeling_labeltask t ON t.inquiry_id = i.id
    WHERE p.nth = 1 AND l.category_id IS NOT NULL AND l.source <> 'imported')
SELECT count(*),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM promoted_at - received_at)),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM settled_at - queued_at)),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM began - settled_at)),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM promoted_at - began))
FROM taught
"""


@dataclass(frozen=True)
class Journey:
    """The way of the labels that the newest version was the first to learn; medians, in seconds."""

    labels: int
    total: timedelta
    labeling: timedelta
    waiting: timedelta
    training: timedelta

    @property
    def slowest(self) -> str:
        steps = {"labeling": self.labeling, "waiting": self.waiting, "training": self.training}
        return max(steps, key=lambda s: steps[s])


def journey(*, project_id: int) -> Journey | None:
    """From an inquiry's arrival to the model that learned from it; None before any such model."""
    with connection.cursor() as cursor:
        cursor.execute(_JOURNEY, [project_id, project_id])
        labels, *seconds = cursor.fetchone()
    if not labels:
        return None
    total, labeling, waiting, training = (timedelta(seconds=max(float(s), 0.0)) for s in seconds)
    return Journey(labels, total, labeling, waiting, training)


@dataclass(frozen=True)
class Waiting:
    """How many wait, and since when the one that waits longest."""

    count: int
    since: datetime | None


def _waiting(rows: QuerySet[Any], moment: str) -> Waiting:
    found = rows.aggregate(n=Count("pk"), since=Min(moment))
    return Waiting(found["n"], found["since"])


def open_tasks(*, project_id: int) -> Waiting:
    return _waiting(LabelTask.objects.filter(project_id=project_id, state=TaskState.OPEN), "created_at")


def disputed_tasks(*, project_id: int) -> Waiting:
    return _waiting(LabelTask.objects.filter(project_id=project_id, state=TaskState.DISPUTED), "created_at")


def open_cases(*, project_id: int) -> Waiting:
    return _waiting(Escalation.objects.filter(project_id=project_id, state=EscalationState.OPEN), "opened_at")


def people_at_work(*, project_id: int) -> int:
    """Who has an item in hand now."""
    held = Slot.objects.filter(project_id=project_id, state=SlotState.LEASED, lease_expires_at__gt=timezone.now())
    return held.filter(role__in=SlotRole.values).values("annotator").distinct().count()


def arrivals(*, project_id: int, hours: int = 24) -> tuple[int, int]:
    """Inquiries of the last hours, and of as many hours before."""
    now = timezone.now()
    span = timedelta(hours=hours)
    own = Inquiry.objects.filter(project_id=project_id, received_at__gt=now - 2 * span)
    found = own.aggregate(
        now=Count("pk", filter=Q(received_at__gt=now - span)), before=Count("pk", filter=Q(received_at__lte=now - span))
    )
    return found["now"], found["before"]


def answered_by_model(*, project_id: int, hours: int = 24) -> Wilson | None:
    """Share of the last hours' inquiries that the model answered alone."""
    since = timezone.now() - timedelta(hours=hours)
    found = DecisionRecord.objects.filter(inquiry__project_id=project_id, inquiry__received_at__gt=since).aggregate(
        n=Count("pk"), auto=Count("pk", filter=Q(decision="auto"))
    )
    return wilson(found["auto"], found["n"])


def answered_late(*, project_id: int, hours: int = 24) -> int:
    """Inquiries that waited for a person until, in the last hours, a later version was sure of them."""
    since = timezone.now() - timedelta(hours=hours)
    return LateAnswer.objects.filter(project_id=project_id, answered_at__gt=since).count()


def labels_since_training(*, project: Project) -> Waiting:
    """Settled labels that no training has begun with yet."""
    last = Job.objects.filter(project=project, kind="train", state=JobState.DONE).order_by("-started_at").first()
    labels = Label.objects.filter(project=project, category__isnull=False)
    return _waiting(labels.filter(settled_at__gt=last.started_at) if last else labels, "settled_at")


def audited_accuracy(*, project_id: int) -> Wilson | None:
    """How often the decision was right on blindly labeled random draws (all drawn with the project's one propensity)."""
    audited = DecisionRecord.objects.filter(
        inquiry__project_id=project_id,
        audit=True,
        inquiry__task__kind=TaskKind.AUDIT,
        inquiry__task__state=TaskState.RESOLVED,
    )
    found = audited.aggregate(n=Count("pk"), hits=Count("pk", filter=Q(category=F("inquiry__task__category"))))
    return wilson(found["hits"], found["n"])


def unanswered_audits(*, project_id: int) -> int:
    """Draws that nobody has labeled yet: while there are many, the figure may be off."""
    return (
        LabelTask.objects.filter(project_id=project_id, kind=TaskKind.AUDIT).exclude(state=TaskState.RESOLVED).count()
    )


def models(*, project_id: int, limit: int = 20) -> list[ModelVersion]:
    rows = ModelVersion.objects.filter(project_id=project_id).select_related("parent").order_by("-number")
    return list(rows[:limit])


def live_models(*, project_id: int) -> list[ModelVersion]:
    return list(ModelVersion.objects.filter(project_id=project_id, stage=Stage.PRODUCTION).order_by("-promoted_at"))


def frozen_heads(*, project_id: int) -> list[LiveState]:
    """Versions in production whose live labels are held back, longest first."""
    rows = LiveState.objects.filter(model__project_id=project_id, model__stage=Stage.PRODUCTION).exclude(frozen="")
    return list(rows.select_related("model").order_by("frozen_at"))


def live_states(*, project_id: int) -> dict[int, LiveState]:
    """By version: how far those that ever served have followed labels."""
    return LiveState.objects.filter(model__project_id=project_id).in_bulk()


def jobs(*, project_id: int, limit: int = 8) -> list[Job]:
    """Unfinished jobs first, then the newest."""
    own = Job.objects.filter(project_id=project_id).order_by("-created_at")
    unfinished = own.filter(state__in=[JobState.QUEUED, JobState.RUNNING, JobState.FAILED])
    return [*unfinished[:limit], *own.exclude(pk__in=unfinished)[:limit]][:limit]


def rejected_runs(*, project_id: int, days: int = 7) -> int:
    since = timezone.now() - timedelta(days=days)
    # A challenger that a gate stops costs nothing: the closed form beside it is judged by itself.
    stopped = TrainingRun.objects.filter(project_id=project_id, state=RunState.REJECTED, method="")
    return stopped.filter(created_at__gt=since).count()


LATELY, LONG = timedelta(days=30), timedelta(days=90)


def maturity_of(*, project_id: int) -> Maturity:
    """How far the loop runs by itself, from the last thirty days (gates and recoveries: ninety)."""
    now = timezone.now()
    versions = list(
        ModelVersion.objects.filter(project_id=project_id).values_list("created_at", "promoted_at", "gates")
    )
    gates = [bool(g.get("passed")) for made, _at, found in versions if made > now - LONG for g in found]
    live = [at for _made, at, _found in versions if at is not None]
    found = answered_by_model(project_id=project_id, hours=LATELY.days * 24)
    days = [
        recovered / 86_400 for recovered in recoveries(_alarms(project_id, now - LONG), [at.timestamp() for at in live])
    ]
    return maturity(
        automated=(found.hits, found.n) if found else (0, 0), gates=(sum(gates), len(gates)),
        deployments=sum(at > now - LATELY for at in live) if versions else None, recoveries=days,
    )  # fmt: skip


def _alarms(project_id: int, since: datetime) -> list[float]:
    """When something was found to be wrong: critical checks, trainings wanted, candidates that did harm."""
    checks = DriftReport.objects.filter(project_id=project_id, state=DriftState.CRITICAL, created_at__gt=since)
    wanted = RetrainingVerdict.objects.filter(project_id=project_id, created_at__gt=since).exclude(wanted="")
    harmful = Rollout.objects.filter(project_id=project_id, state=RolloutState.ROLLED_BACK, ended_at__gt=since)
    moments = checks.values_list("created_at").union(wanted.values_list("created_at"), harmful.values_list("ended_at"))
    return [at.timestamp() for (at,) in moments]
