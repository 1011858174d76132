"""What a customer wrote."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from feedback.ids import uuid7


class Fold(models.IntegerChoices):
    """Where an inquiry's label may be used; fixed when the inquiry is stored (DESIGN §5.3)."""

    TRAIN = 0, "train"
    CALIBRATE = 1, "calibrate"
    TEST = 2, "test"


class Status(models.TextChoices):
    ANSWERED = "answered", "Answered by the model"
    WAITING = "waiting", "Waiting for a person"
    RESOLVED = "resolved", "Resolved"


class Inquiry(models.Model):
    """One inquiry. The text lives in this row alone: other tables refer to it, so that erasing it erases it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # An index of its own would be written with each inquiry and say nothing that those below do not.
    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="inquiries", db_index=False)
    app = models.ForeignKey("feedback.ClientApp", on_delete=models.SET_NULL, null=True, related_name="+")
    external_id = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - null is "none given": unique where given
    request_sha = models.BinaryField(max_length=32)
    text = models.TextField()
    locale = models.CharField(max_length=16, default="", blank=True)
    customer = models.CharField(max_length=200, default="", blank=True)
    channel = models.CharField(max_length=50, default="", blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    group_sha = models.BinaryField(max_length=16)
    fold = models.SmallIntegerField(choices=Fold)
    status = models.CharField(max_length=10, choices=Status)
    category = models.ForeignKey("feedback.Category", on_delete=models.PROTECT, null=True, related_name="+")
    reply = models.ForeignKey("feedback.Reply", on_delete=models.PROTECT, null=True, related_name="+")
    # What answered, as the answerer calls it ("v7"): a label that figures are grouped by, opaque to this app.
    model = models.CharField(max_length=80, default="", blank=True)
    received_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "external_id"], name="inquiry_external_id_once"),
            models.CheckConstraint(condition=~Q(text=""), name="inquiry_text_not_empty"),
        ]
        indexes = [
            # The latest inquiries of a project (status page, selection windows).
            models.Index(fields=["project", "-received_at"], name="inquiry_recent"),
        ]

    def __str__(self) -> str:
        return str(self.id)
