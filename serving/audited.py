"""What of serving/ is audited: which model was registered, approved, promoted, archived, barred or rejected, and its names."""

from __future__ import annotations

from feedback.audit import Recorded, record
from serving.models import Alias, ModelVersion


def register() -> None:
    """Called when the app is ready."""
    record(ModelVersion, Recorded("model", ("number", "stage", "promoted_at", "approved_by", "approved_at", "barred")))
    record(Alias, Recorded("alias", ("name", "model_id")))
