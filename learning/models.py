"""What a model was made from."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models

from learning.gates.checks import Checks
from learning.gates.result import DEFAULTS, Thresholds
from learning.topic_models import Topic, TopicEvent, TopicMember, TopicRun

__all__ = [
    "GateSettings",
    "RunState",
    "Snapshot",
    "Topic",
    "TopicEvent",
    "TopicMember",
    "TopicRun",
    "TrainingRun",
]


class GateSettings(models.Model):
    """What a project demands of a version before it serves; without a row the defaults hold."""

    project = models.OneToOneField("feedback.Project", on_delete=models.CASCADE, primary_key=True, related_name="gates")
    thresholds = models.JSONField(default=dict, blank=True, help_text="Those that differ from the defaults, by name.")
    checks = models.TextField(default="", blank=True, help_text="YAML: functionality, directional, invariance.")

    def __str__(self) -> str:
        return f"gates of {self.project_id}"

    @classmethod
    def of(cls, project_id: int) -> GateSettings:
        return cls.objects.filter(pk=project_id).first() or cls(project_id=project_id)

    def clean(self) -> None:
        """Raises ValidationError naming the field, and what to do."""
        for field, read in (("thresholds", lambda: self.thresholds_in_force), ("checks", lambda: self.parsed_checks)):
            try:
                read()
            except (ValueError, AttributeError) as error:
                raise ValidationError({field: str(error)}) from error

    @property
    def thresholds_in_force(self) -> Thresholds:
        return DEFAULTS.moved(self.thresholds)

    @property
    def parsed_checks(self) -> Checks:
        return Checks.parse(self.checks)


class Snapshot(models.Model):
    """A content-addressed manifest of label ids, categories, weights and hashes (no text): what a run has seen."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="snapshots")
    encoder_sha = models.CharField(max_length=64)
    sha256 = models.CharField(max_length=64)
    labels = models.PositiveIntegerField()
    # The newest label that it holds: how many have come since decides about the next training.
    last_settled_at = models.DateTimeField(null=True)
    # What is left of it after an erasure. The manifest itself stays: it says which rows a run had that are no more.
    successor = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="predecessors")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "sha256"], name="snapshot_once")]

    def __str__(self) -> str:
        return f"{self.labels} labels {self.sha256[:8]}"


class RunState(models.TextChoices):
    RUNNING = "running", "Running"
    PROMOTED = "promoted", "Promoted"
    REJECTED = "rejected", "Stopped by a gate"
    FAILED = "failed", "Failed"


class TrainingRun(models.Model):
    """One training: its five parts (weights, data, hyper-parameters, environment, seed) and what came of it."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="runs")
    job = models.ForeignKey("feedback.Job", on_delete=models.CASCADE, related_name="+")
    encoder_sha = models.CharField(max_length=64)
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="runs")
    state = models.CharField(max_length=10, choices=RunState, default=RunState.RUNNING)
    seed = models.PositiveIntegerField(default=0)
    hyperparameters = models.JSONField(default=dict)
    environment = models.JSONField(default=dict)
    metrics = models.JSONField(default=dict)
    model = models.OneToOneField("serving.ModelVersion", on_delete=models.SET_NULL, null=True, related_name="run")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "encoder_sha"], name="run_once_per_job_and_encoder")]

    def __str__(self) -> str:
        return f"run {self.pk} {self.state}"
