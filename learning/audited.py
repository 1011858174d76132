"""What of learning/ is audited: what a project demands of its versions, when it trains, and what people decided about topics.

What runs write about topics is not.
"""

from __future__ import annotations

from feedback.audit import DELETE, UPDATE, Recorded, record
from learning.models import GateSettings, Topic, TrainingSettings


def register() -> None:
    """Called when the app is ready."""
    record(GateSettings, Recorded("gates", ("thresholds",), texts=("checks",)))
    record(TrainingSettings, Recorded("training", ("approval", "nightly_hour", "feedback_weight")))
    columns = ("name", "owner_id", "pinned", "muted", "died_at", "heir_id")
    record(Topic, Recorded("topic", columns, texts=("notes",), actions=(UPDATE, DELETE)))
