"""What a model was made from."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from learning.challenger_models import Challenger, ContinualState, Search, SearchState, Trial, TrialState
from learning.core.continual.methods import METHODS
from learning.drift_models import (
    DriftReference,
    DriftReport,
    DriftSettings,
    DriftState,
    GuardReport,
    RetrainingVerdict,
    Trigger,
)
from learning.gates.checks import Checks
from learning.gates.result import DEFAULTS, Thresholds
from learning.mirror_models import MirroredRun
from learning.selection_models import Selection, SelectionPart, SelectionState
from learning.topic_models import Topic, TopicEvent, TopicMember, TopicRun

__all__ = [
    "Challenger",
    "ContinualState",
    "DriftReference",
    "DriftReport",
    "DriftSettings",
    "DriftState",
    "GateSettings",
    "GuardReport",
    "MirroredRun",
    "RetrainingVerdict",
    "RunState",
    "Search",
    "SearchState",
    "Selection",
    "SelectionPart",
    "SelectionState",
    "Snapshot",
    "Topic",
    "TopicEvent",
    "TopicMember",
    "TopicRun",
    "TrainingRun",
    "Trial",
    "TrialState",
    "Trigger",
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


class TrainingSettings(models.Model):
    """When a project is trained, by what weights, and whether a person lets its versions serve."""

    project = models.OneToOneField(
        "feedback.Project", on_delete=models.CASCADE, primary_key=True, related_name="training"
    )
    approval = models.BooleanField(
        default=False, help_text="A version that passed its gates waits in staging until a person promotes it."
    )
    nightly_hour = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(23)],
        help_text="Hour (UTC) of a nightly training; empty: none.",
    )
    feedback_weight = models.FloatField(
        default=0.5, validators=[MinValueValidator(0.0), MaxValueValidator(10.0)], help_text="λ of what customers did."
    )
    challenger = models.CharField(
        max_length=12,
        choices=Challenger,
        default=Challenger.NONE,
        help_text="A network that is trained beside the closed form, and serves where it answers better.",
    )
    challenger_options = models.JSONField(
        default=dict, blank=True, help_text="Options of the challenger that differ from its method's own."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(nightly_hour=None) | Q(nightly_hour__lte=23), name="nightly_hour_of_a_day"
            ),
            models.CheckConstraint(condition=Q(feedback_weight__range=(0, 10)), name="feedback_weight_0_to_10"),
            models.CheckConstraint(condition=Q(challenger__in=Challenger.values), name="challenger_known"),
        ]

    def __str__(self) -> str:
        return f"training of {self.project_id}"

    def clean(self) -> None:
        """Raises ValidationError naming the option that the challenger does not have, or whose value is out of bounds."""
        method = METHODS.get(self.challenger)
        try:
            if method is not None:
                method.with_options(self.challenger_options)
            elif self.challenger_options:
                raise ValueError(
                    f"without a challenger there are no options: take {', '.join(self.challenger_options)} away"
                )
        except (ValueError, AttributeError) as error:
            raise ValidationError({"challenger_options": str(error)}) from error

    @classmethod
    def of(cls, project_id: int) -> TrainingSettings:
        return cls.objects.filter(pk=project_id).first() or cls(project_id=project_id)


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
    STAGED = "staged", "Waits for a person"
    BEATEN = "beaten", "Passed, but another of the same labels answered better"
    REJECTED = "rejected", "Stopped by a gate"
    FAILED = "failed", "Failed"


class TrainingRun(models.Model):
    """One training: its five parts (weights, data, hyper-parameters, environment, seed) and what came of it."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="runs")
    job = models.ForeignKey("feedback.Job", on_delete=models.CASCADE, related_name="+")
    encoder_sha = models.CharField(max_length=64)
    # "" is the closed form; else the challenger that was trained beside it.
    method = models.CharField(max_length=12, default="", blank=True)
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="runs")
    state = models.CharField(max_length=10, choices=RunState, default=RunState.RUNNING)
    seed = models.PositiveIntegerField(default=0)
    hyperparameters = models.JSONField(default=dict)
    environment = models.JSONField(default=dict)
    metrics = models.JSONField(default=dict)
    reason = models.CharField(max_length=20, default="", blank=True, help_text="Why it was trained.")
    # What was found about the data before training: checks as JSON, and the report as a page of its own.
    validation = models.JSONField(default=dict)
    report = models.TextField(default="", blank=True)
    model = models.OneToOneField("serving.ModelVersion", on_delete=models.SET_NULL, null=True, related_name="run")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "encoder_sha", "method"], name="run_once_per_job_encoder_and_method")
        ]

    def __str__(self) -> str:
        return f"run {self.pk} {self.state}"
