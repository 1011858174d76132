"""What webhooks are told about models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from feedback.models import OutboxEvent
from feedback.webhooks import tells
from serving.models import ModelVersion, Rollout


@dataclass(frozen=True)
class ModelPromoted:
    """A version answers from now on, also after a rollback."""

    kind: ClassVar[str] = "model.promoted"
    number: int
    model_kind: str
    encoder: str
    manifest: str


@tells(ModelPromoted)
def model_promoted(row: OutboxEvent) -> ModelPromoted | None:
    found = ModelVersion.objects.filter(pk=row.payload["model"]).first()
    if found is None:
        return None
    return ModelPromoted(found.number, found.kind, found.encoder_sha, found.manifest_sha)


@dataclass(frozen=True)
class RolloutRolledBack:
    """A candidate has shown harm and answers nobody any more; `metric` is the figure that told."""

    kind: ClassVar[str] = "rollout.rolled_back"
    rollout: int
    candidate: int
    control: int
    step_percent: int
    code: str
    metric: str | None
    p_value: float | None


@tells(RolloutRolledBack)
def rollout_rolled_back(row: OutboxEvent) -> RolloutRolledBack | None:
    found = Rollout.objects.filter(pk=row.payload["rollout"]).select_related("candidate", "control").first()
    if found is None:
        return None
    return RolloutRolledBack(
        found.pk, found.candidate.number, found.control.number, int(found.plan[found.step]), found.reason.get("code", ""),
        found.reason.get("metric"), found.reason.get("p_value"),
    )  # fmt: skip


@dataclass(frozen=True)
class ModelStaged:
    """A version has passed its gates and waits for a person to promote it."""

    kind: ClassVar[str] = "model.staged"
    number: int
    model_kind: str
    encoder: str
    manifest: str


@tells(ModelStaged)
def model_staged(row: OutboxEvent) -> ModelStaged | None:
    found = ModelVersion.objects.filter(pk=row.payload["model"]).first()
    if found is None:
        return None
    return ModelStaged(found.number, found.kind, found.encoder_sha, found.manifest_sha)
