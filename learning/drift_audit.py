"""What of drift and guard is audited: when a project is checked, retrained and guarded."""

from __future__ import annotations

from feedback.audit import Recorded, record
from learning.models import DriftSettings

SETTINGS = (
    "check_after", "reference_size", "false_alarms", "least_accuracy", "most_drop", "audited", "critical_checks",
    "cool_down_days", "alpha_bound", "guard_weights", "error_cost", "cpu_hour_cost",
)  # fmt: skip


def register() -> None:
    """Called when the app is ready."""
    record(DriftSettings, Recorded("drift", SETTINGS))
