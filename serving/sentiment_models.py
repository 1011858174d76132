"""What reads comments: versions of the sentiment head, and which version read which comment."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class SentimentStage(models.TextChoices):
    STAGING = "staging", "Staging"
    PRODUCTION = "production", "Production"
    ARCHIVED = "archived", "Archived"
    REJECTED = "rejected", "Rejected by a gate"


class SentimentVersion(models.Model):
    """One sentiment bundle under its manifest hash. At most one reads per project and encoder variant."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="sentiment_versions")
    number = models.PositiveIntegerField()
    # The variant that reads this language in the project; a fine-tuned version brings an encoder of its own in its bundle.
    encoder_sha = models.CharField(max_length=64)
    manifest_sha = models.CharField(max_length=64)
    kind = models.CharField(max_length=40)
    stage = models.CharField(max_length=10, choices=SentimentStage, default=SentimentStage.STAGING)
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="children")
    metrics = models.JSONField(default=dict)
    gates = models.JSONField(default=list)
    lineage = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    promoted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="sentiment_number_once"),
            models.UniqueConstraint(
                fields=["project", "encoder_sha"], condition=Q(stage="production"), name="sentiment_one_in_production"
            ),
        ]

    def __str__(self) -> str:
        return f"sentiment of {self.project} s{self.number}"


class CommentReading(models.Model):
    """Which version read a comment (null: the anchors). The sentiment itself stands in the event."""

    event = models.OneToOneField("feedback.Event", on_delete=models.CASCADE, primary_key=True, related_name="reading")
    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+")
    version = models.ForeignKey(SentimentVersion, on_delete=models.SET_NULL, null=True, related_name="readings")
    encoder_sha = models.CharField(max_length=64)
    first_read_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [
            # How many comments came since the last training.
            models.Index(fields=["project", "first_read_at"], name="reading_by_arrival"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id} by {self.version_id or 'anchors'}"
