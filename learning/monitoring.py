"""What to look at first: monitors by expected value per cost, both counted in human labels.

The chance that a monitor finds something is the share of past checks in which it did (Beta(1, 9) before any); a finding is
worth the wrong answers that a day sooner saves; looking costs processor time or labels.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Avg, Count, Q
from django.utils import timezone

from feedback.models import Inquiry
from labeling.models import LabelTask, TaskKind
from learning.core.drift.verdict import Monitor, monitor_order
from learning.models import DriftReport, DriftSettings, DriftState, GuardReport, RetrainingVerdict
from serving.models import DecisionRecord

WEEK = timedelta(days=7)
UNKNOWN_CPU = 10.0  # seconds, before the first check
GUARD_SHARE = 0.1  # the guard's processor time, as a share of a check's


def monitors(*, project_id: int) -> list[dict[str, Any]]:
    """Rows {name, chance, value, cost, worth, pays}, the best first."""
    told = DriftSettings.of(project_id)
    saved = _answers_a_day(project_id) * told.most_drop * told.error_cost
    reports = DriftReport.objects.filter(project_id=project_id).aggregate(
        n=Count("pk"), hits=Count("pk", filter=Q(state=DriftState.CRITICAL)), cpu=Avg("cpu_seconds")
    )
    verdicts = RetrainingVerdict.objects.filter(project_id=project_id).aggregate(
        n=Count("pk"), hits=Count("pk", filter=Q(wanted__in=["accuracy", "drop"]))
    )
    guards = GuardReport.objects.filter(project_id=project_id).aggregate(
        n=Count("pk"), hits=Count("pk", filter=~Q(alarms=[]))
    )
    cpu = max((reports["cpu"] or UNKNOWN_CPU) / 3600 * told.cpu_hour_cost, 1e-6)
    rows = [
        Monitor("input", _chance(reports), saved, cpu),
        Monitor("audit", _chance(verdicts), saved, _audit_labels_a_day(project_id)),
        Monitor("guard", _chance(guards), saved, GUARD_SHARE * cpu),
    ]
    pay = {m.name for m in monitor_order(rows)}
    return [
        {"name": m.name, "chance": m.chance, "value": m.value, "cost": m.cost, "worth": m.worth, "pays": m.name in pay}
        for m in sorted(rows, key=lambda m: (-m.worth, m.name))
    ]  # fmt: skip


def _chance(seen: dict[str, Any]) -> float:
    return float((seen["hits"] + 1) / (seen["n"] + 10))


def _answers_a_day(project_id: int) -> float:
    """Answers that the model gave alone, a day, over the last week (or since the first inquiry)."""
    first = Inquiry.objects.filter(project_id=project_id).order_by("received_at").values_list("received_at", flat=True)
    begun: datetime = max([timezone.now() - WEEK, *first[:1]])
    days = max((timezone.now() - begun) / timedelta(days=1), 1 / 24)
    own = DecisionRecord.objects.filter(
        inquiry__project_id=project_id, inquiry__received_at__gte=begun, decision="auto"
    )
    return own.count() / days


def _audit_labels_a_day(project_id: int) -> float:
    drawn = LabelTask.objects.filter(project_id=project_id, kind=TaskKind.AUDIT, created_at__gt=timezone.now() - WEEK)
    return max(sum(drawn.values_list("overlap", flat=True)) / WEEK.days, 1.0)
