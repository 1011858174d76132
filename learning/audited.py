"""What of learning/ is audited: what a project demands of its versions, when it trains, and when it is checked for drift."""

from __future__ import annotations

from feedback.audit import Recorded, record
from learning.models import DriftSettings, GateSettings, TrainingSettings

DRIFT = (
    "check_after", "reference_size", "false_alarms", "least_accuracy", "most_drop", "audited", "critical_checks",
    "cool_down_days", "alpha_bound", "guard_weights", "error_cost", "cpu_hour_cost",
)  # fmt: skip


def register() -> None:
    """Called when the app is ready."""
    record(GateSettings, Recorded("gates", ("thresholds",), texts=("checks",)))
    record(TrainingSettings, Recorded("training", ("approval", "nightly_hour", "feedback_weight")))
    record(DriftSettings, Recorded("drift", DRIFT))
