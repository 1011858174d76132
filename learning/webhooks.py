"""What webhooks are told about change, and about the loop itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from feedback.models import OutboxEvent
from feedback.webhooks import tells
from learning.models import DriftReport, GuardReport


@dataclass(frozen=True)
class DriftAlarm:
    """A drift check was critical. `kinds` are codes (input, prediction, label, concept, lead, unlabeled); the report with its
    parts, slices and examples is GET /api/v1/drift/{report}."""

    kind: ClassVar[str] = "drift.alarm"
    report: int
    kinds: list[str]
    p_value: float
    texts: int
    encoder: str


@dataclass(frozen=True)
class GuardAlarm:
    """The loop needs a person. `alarms` are codes (unstable, alpha, exposure, unmeasured); see GET /api/v1/drift/guard."""

    kind: ClassVar[str] = "guard.alarm"
    report: int
    alarms: list[str]
    alpha: float
    upper: float


@tells(DriftAlarm)
def drift_alarm(row: OutboxEvent) -> DriftAlarm | None:
    found = DriftReport.objects.filter(pk=row.payload["report"]).first()
    if found is None:
        return None
    return DriftAlarm(found.pk, found.kinds, found.p_value, found.n, found.encoder_sha)


@tells(GuardAlarm)
def guard_alarm(row: OutboxEvent) -> GuardAlarm | None:
    found = GuardReport.objects.filter(pk=row.payload["report"]).first()
    if found is None:
        return None
    return GuardAlarm(found.pk, found.alarms, found.alpha, found.upper)
