"""What answers: embeddings, model versions and the record of each decision."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from serving.language_models import LanguageStage as LanguageStage
from serving.language_models import LanguageVersion as LanguageVersion
from serving.language_models import PromptTemplate as PromptTemplate
from serving.late_models import LateAnswer as LateAnswer
from serving.log_models import RequestLog as RequestLog
from serving.policy_models import PolicyStage, PolicyTrial, PolicyVersion, ReplyShown
from serving.rollout_models import (
    Rollout,
    RolloutEvidence,
    RolloutLook,
    RolloutSettings,
    RolloutState,
    RolloutStep,
    ShadowAnswer,
)
from serving.sentiment_models import CommentReading, SentimentStage, SentimentVersion
from serving.student_models import Cascade, Student, StudentStage

__all__ = [
    "Alias",
    "Cascade",
    "CommentReading",
    "DecisionRecord",
    "Embedding",
    "ModelVersion",
    "PolicyStage",
    "PolicyTrial",
    "PolicyVersion",
    "ReplyShown",
    "Rollout",
    "RolloutEvidence",
    "RolloutLook",
    "RolloutSettings",
    "RolloutState",
    "RolloutStep",
    "SentimentStage",
    "SentimentVersion",
    "ShadowAnswer",
    "Stage",
    "Student",
    "StudentStage",
]


class Embedding(models.Model):
    """A text's vector under one encoder variant, as float16 bytes: a row, so that erasure reaches it."""

    # Found by `embedding_once`, which begins with it.
    inquiry = models.ForeignKey("feedback.Inquiry", on_delete=models.CASCADE, related_name="embeddings", db_index=False)
    encoder_sha = models.CharField(max_length=64)
    vector = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["inquiry", "encoder_sha"], name="embedding_once")]

    def __str__(self) -> str:
        return f"{self.inquiry_id} under {self.encoder_sha[:8]}"


class Stage(models.TextChoices):
    NONE = "none", "Registered, not judged yet"
    STAGING = "staging", "Staging"
    PRODUCTION = "production", "Production"
    ARCHIVED = "archived", "Archived"
    REJECTED = "rejected", "Rejected by a gate"


class ModelVersion(models.Model):
    """One bundle under its manifest hash, and what it came from. At most one serves per project and encoder variant."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="models")
    number = models.PositiveIntegerField()
    encoder_sha = models.CharField(max_length=64)
    manifest_sha = models.CharField(max_length=64)
    kind = models.CharField(max_length=40)
    stage = models.CharField(max_length=10, choices=Stage, default=Stage.STAGING)
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="children")
    metrics = models.JSONField(default=dict)
    gates = models.JSONField(default=list)
    # Lineage: weights, data hash, hyper-parameters, environment, seed.
    lineage = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    promoted_at = models.DateTimeField(null=True)
    # Who let a version serve that waited for a person, as the audit names people and keys.
    approved_by = models.CharField(max_length=80, default="", blank=True)
    approved_at = models.DateTimeField(null=True)
    # Why it must not be promoted (again); what serves goes on serving until it is replaced.
    barred = models.CharField(max_length=200, default="", blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="model_number_once"),
            models.UniqueConstraint(
                fields=["project", "encoder_sha"], condition=Q(stage="production"), name="model_one_in_production"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project} v{self.number}"


class Alias(models.Model):
    """A name that stands for one version of a project ("champion") and can be moved to another."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="aliases")
    name = models.SlugField(max_length=40)
    model = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="aliases")
    set_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="alias_once_per_project")]

    def __str__(self) -> str:
        return f"{self.name} → {self.model}"


class LiveState(models.Model):
    """How far a version has followed labels since it was made, and who may publish its next delta."""

    class Wish(models.TextChoices):
        NONE = "", "Nothing"
        CHECK = "check", "Publish again if the guard set agrees by now"
        ACCEPT = "accept", "Publish again, and judge from here on"
        RECOUNT = "recount", "Compare all labels: some may have been erased"

    model = models.OneToOneField(ModelVersion, on_delete=models.CASCADE, primary_key=True, related_name="live")
    # The delta that is served: its number (0: the base itself) and the hash of its bytes.
    number = models.PositiveIntegerField(default=0)
    sha256 = models.CharField(max_length=64, default="", blank=True)
    changes = models.PositiveIntegerField(default=0, help_text="Label changes since the base that are served.")
    guard_accuracy = models.FloatField(null=True)
    published_at = models.DateTimeField(null=True)
    # Only who holds this token may publish; a new owner replaces it.
    token = models.UUIDField(null=True)
    frozen = models.TextField(default="", blank=True, help_text="Why nothing is published any more.")
    frozen_at = models.DateTimeField(null=True)
    # A person accepted a drop on the guard set: labels settled until then are judged no more.
    accepted_at = models.DateTimeField(null=True)
    wish = models.CharField(max_length=8, choices=Wish, default=Wish.NONE, blank=True)

    def __str__(self) -> str:
        return f"{self.model} delta {self.number}"


class Delta(models.Model):
    """One published delta: what an answer recorded as (version, delta number) was given with."""

    model = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="deltas")
    number = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    changes = models.PositiveIntegerField()
    guard_accuracy = models.FloatField(null=True)
    published_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["model", "number"], name="delta_number_once")]

    def __str__(self) -> str:
        return f"{self.model} delta {self.number}"


class DecisionRecord(models.Model):
    """What the service decided about an inquiry, by which version and with what probabilities; never changed afterwards."""

    inquiry = models.OneToOneField(
        "feedback.Inquiry", on_delete=models.CASCADE, primary_key=True, related_name="decision"
    )
    model = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, related_name="+")
    model_name = models.CharField(max_length=80)
    delta = models.PositiveIntegerField(default=0)
    encoder_sha = models.CharField(max_length=64)
    category = models.ForeignKey("feedback.Category", on_delete=models.PROTECT, null=True, related_name="+")
    confidence = models.FloatField()
    probabilities = models.JSONField(default=dict)
    sentiment = models.FloatField(null=True)
    decision = models.CharField(max_length=5)
    reasons = models.JSONField(default=list)
    audit = models.BooleanField(default=False)
    propensity = models.FloatField()
    answer = models.JSONField(default=dict)
    decided_at = models.DateTimeField(auto_now_add=True)
    # Where a rollout was under way: which one, and who answered (production, candidate, or production in its stead).
    rollout = models.ForeignKey(Rollout, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False)
    arm = models.CharField(max_length=10, default="", db_default="", blank=True)
    took_ms = models.FloatField(null=True, help_text="Time in the model, from the text to the prediction.")

    class Meta:
        indexes = [
            # What a look at a rollout reads.
            models.Index(
                fields=["rollout", "decided_at"], condition=Q(rollout__isnull=False), name="decision_by_rollout"
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(decision__in=["auto", "human"]), name="decision_auto_or_human"),
            models.CheckConstraint(
                condition=Q(confidence__gte=0, confidence__lte=1), name="decision_confidence_is_share"
            ),
            models.CheckConstraint(
                condition=Q(propensity__gte=0, propensity__lte=1), name="decision_propensity_is_share"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.decision} at {self.confidence:.2f}"
