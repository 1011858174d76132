"""What of serving/ is audited: the life of models and reply policies, and the names of models."""

from __future__ import annotations

from feedback.audit import Recorded, record
from serving.models import Alias, ModelVersion, PolicyVersion


def register() -> None:
    """Called when the app is ready."""
    record(ModelVersion, Recorded("model", ("number", "stage", "promoted_at", "approved_by", "approved_at", "barred")))
    record(Alias, Recorded("alias", ("name", "model_id")))
    record(PolicyVersion, Recorded("policy", ("number", "stage", "promoted_at")))
