"""What of learning/ is audited: what a project demands of its versions, and when it trains."""

from __future__ import annotations

from feedback.audit import Recorded, record
from learning.models import GateSettings, TrainingSettings


def register() -> None:
    """Called when the app is ready."""
    record(GateSettings, Recorded("gates", ("thresholds",), texts=("checks",)))
    record(TrainingSettings, Recorded("training", ("approval", "nightly_hour", "feedback_weight")))
