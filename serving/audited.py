"""What of serving/ is audited: the life of models and reply policies, and the names of models."""

from __future__ import annotations

from feedback.audit import Recorded, record
from serving.models import (
    Alias,
    LanguageVersion,
    ModelVersion,
    PolicyTrial,
    PolicyVersion,
    PromptTemplate,
    Rollout,
    RolloutSettings,
    Student,
)


def register() -> None:
    """Called when the app is ready."""
    record(ModelVersion, Recorded("model", ("number", "stage", "promoted_at", "approved_by", "approved_at", "barred")))
    record(Alias, Recorded("alias", ("name", "model_id")))
    record(Student, Recorded("student", ("teacher_sha", "encoder_sha", "stage")))
    record(Rollout, Recorded("rollout", ("candidate_id", "control_id", "kind", "state", "step")))
    limits = ("minimum_per_arm", "minimum_audited", "maximum_looks", "look_minutes", "most_disagreement", "slow_ms")
    record(RolloutSettings, Recorded("rollouts", ("project_id", "mode", *limits)))
    record(PolicyTrial, Recorded("policy trial", ("candidate_id", "control_id", "state", "step")))
    record(LanguageVersion, Recorded("language model", ("number", "stage", "promoted_at", "barred")))
    record(PromptTemplate, Recorded("prompt", ("number", "category_id", "locale", "active"), texts=("text",)))
    record(PolicyVersion, Recorded("policy", ("number", "stage", "promoted_at")))
