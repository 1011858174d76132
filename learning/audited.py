"""What of learning/ is audited: what people decided about topics. What runs write about them is not."""

from __future__ import annotations

from feedback.audit import DELETE, UPDATE, Recorded, record
from learning.models import Topic


def register() -> None:
    """Called when the app is ready."""
    columns = ("name", "owner_id", "pinned", "muted", "died_at", "heir_id")
    record(Topic, Recorded("topic", columns, texts=("notes",), actions=(UPDATE, DELETE)))
