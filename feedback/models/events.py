"""What customers do and say after an answer, and the scores made from it."""

from __future__ import annotations

from django.db import models

from feedback.ids import uuid7


class Kind(models.TextChoices):
    IMPRESSION = "impression", "Impression"
    CLICK = "click", "Click"
    DWELL = "dwell", "Dwell (s)"
    SCROLL = "scroll", "Scroll depth"
    THUMBS = "thumbs", "Thumbs"
    RATING = "rating", "Rating"
    NPS = "nps", "NPS"
    COMMENT = "comment", "Comment"


class Event(models.Model):
    """One feedback event. `inquiry_ref` is what the app sent; `inquiry` is joined when that inquiry exists."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="events")
    app = models.ForeignKey("feedback.ClientApp", on_delete=models.SET_NULL, null=True, related_name="+")
    event_id = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - null is "none given": unique where given
    request_sha = models.BinaryField(max_length=32)
    inquiry_ref = models.CharField(max_length=200)
    inquiry = models.ForeignKey("feedback.Inquiry", on_delete=models.CASCADE, null=True, related_name="events")
    kind = models.CharField(max_length=10, choices=Kind)
    value = models.FloatField(null=True, blank=True)
    text = models.TextField(default="", blank=True)
    sentiment = models.FloatField(null=True, blank=True)
    customer = models.CharField(max_length=200, default="", blank=True)
    # 1: an app's server, or a customer whom it signed for. Below 1: an anonymous page, never a preference by itself.
    weight = models.FloatField(default=1.0, db_default=1.0)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "event_id"], name="event_id_once"),
            models.CheckConstraint(condition=models.Q(weight__gte=0, weight__lte=1), name="event_weight_is_share"),
        ]
        indexes = [
            # Scores of one inquiry are recomputed from all its events.
            models.Index(fields=["inquiry"], name="event_by_inquiry"),
            # Events that came before their inquiry wait here.
            models.Index(fields=["project", "inquiry_ref"], condition=models.Q(inquiry=None), name="event_held"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


class InquiryScore(models.Model):
    """Scores of one inquiry (DESIGN §4), always recomputed from all its events: exact in any order of arrival."""

    inquiry = models.OneToOneField("feedback.Inquiry", on_delete=models.CASCADE, primary_key=True, related_name="score")
    implicit = models.FloatField(null=True)
    explicit = models.FloatField(null=True)
    thumbs = models.SmallIntegerField(null=True)
    events = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"implicit {self.implicit}, explicit {self.explicit}"
