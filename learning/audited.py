"""What of learning/ is audited: what a project demands of its versions, when it trains and is checked for drift, and what people
decided about topics (what runs write about them is not)."""

from __future__ import annotations

from feedback.audit import DELETE, UPDATE, Recorded, record
from learning.models import DriftSettings, GateSettings, Topic, TrainingSettings

DRIFT = (
    "check_after", "reference_size", "false_alarms", "least_accuracy", "most_drop", "audited", "critical_checks",
    "cool_down_days", "alpha_bound", "guard_weights", "error_cost", "cpu_hour_cost",
)  # fmt: skip
TOPIC = ("name", "owner_id", "pinned", "muted", "died_at", "heir_id")


def register() -> None:
    """Called when the app is ready."""
    record(GateSettings, Recorded("gates", ("thresholds",), texts=("checks",)))
    record(
        TrainingSettings,
        Recorded("training", ("approval", "nightly_hour", "feedback_weight", "challenger", "challenger_options")),
    )
    record(DriftSettings, Recorded("drift", DRIFT))
    record(Topic, Recorded("topic", TOPIC, texts=("notes",), actions=(UPDATE, DELETE)))
