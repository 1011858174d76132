"""What answers: embeddings, model versions and the record of each decision."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from serving.sentiment_models import CommentReading, SentimentStage, SentimentVersion

__all__ = [
    "CommentReading",
    "DecisionRecord",
    "Embedding",
    "ModelVersion",
    "SentimentStage",
    "SentimentVersion",
    "Stage",
]


class Embedding(models.Model):
    """A text's vector under one encoder variant, as float16 bytes: a row, so that erasure reaches it."""

    inquiry = models.ForeignKey("feedback.Inquiry", on_delete=models.CASCADE, related_name="embeddings")
    encoder_sha = models.CharField(max_length=64)
    vector = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["inquiry", "encoder_sha"], name="embedding_once")]

    def __str__(self) -> str:
        return f"{self.inquiry_id} under {self.encoder_sha[:8]}"


class Stage(models.TextChoices):
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

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="model_number_once"),
            models.UniqueConstraint(
                fields=["project", "encoder_sha"], condition=Q(stage="production"), name="model_one_in_production"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project} v{self.number}"


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

    class Meta:
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
