"""What customers do and say after an answer, and the scores made from it."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
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


class EventKey(models.Func):
    """Sixteen bytes of (project, event_id): what makes an event_id unique (docs/decisions/0019; as SQL in feedback/incoming.py)."""

    template = "md5(%(expressions)s)::uuid"
    arg_joiner = "::text || ':' || "
    output_field = models.UUIDField()


class Event(models.Model):
    """One feedback event. `inquiry_ref` is what the app sent; `inquiry` is joined when that inquiry exists.

    No foreign key of an event is a constraint in the database (docs/decisions/0010): checking three for each row costs more
    than storing it. One statement writes here, which looks the inquiry up, and a sweep finds what an erasure overtook.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    project = models.ForeignKey(
        "feedback.Project", on_delete=models.CASCADE, related_name="events", db_constraint=False, db_index=False
    )
    app = models.ForeignKey(
        "feedback.ClientApp",
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    event_id = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001 - null is "none given": unique where given
    request_sha = models.BinaryField(max_length=32)
    inquiry_ref = models.CharField(max_length=200)
    inquiry = models.ForeignKey(
        "feedback.Inquiry",
        on_delete=models.CASCADE,
        null=True,
        related_name="events",
        db_constraint=False,
        db_index=False,
    )
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
            models.UniqueConstraint(
                EventKey("project_id", "event_id"), condition=models.Q(event_id__isnull=False), name="event_key_once"
            ),
            models.CheckConstraint(condition=models.Q(weight__gte=0, weight__lte=1), name="event_weight_is_share"),
        ]
        indexes = [
            # Scores of one inquiry are recomputed from all its events (after an erasure, a new sentiment or a late join).
            models.Index(fields=["inquiry"], name="event_by_inquiry"),
            # Events that came before their inquiry wait here.
            models.Index(fields=["project", "inquiry_ref"], condition=models.Q(inquiry=None), name="event_held"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


class Unscored(models.Model):
    """Events that their inquiries' scores do not know yet, and inquiries whose scores are to be made anew from all events
    (feedback/score_fold.py). One row per transaction; the fold deletes it in the transaction that counts it."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+", db_constraint=False)
    events = ArrayField(models.UUIDField(), default=list)
    anew = ArrayField(models.UUIDField(), default=list)

    def __str__(self) -> str:
        return f"{len(self.events)} events, {len(self.anew)} inquiries"


class InquiryScore(models.Model):
    """What the events of one inquiry say (feedback.scores.Evidence) and its scores under the project's weights.

    Written only by feedback.score_fold, which runs once at a time per project; exact in any order of arrival.
    """

    inquiry = models.OneToOneField("feedback.Inquiry", on_delete=models.CASCADE, primary_key=True, related_name="score")
    # The category under which the inquiry is counted: a person's decision moves it with the next fold.
    category = models.ForeignKey(
        "feedback.Category", on_delete=models.CASCADE, null=True, related_name="+", db_constraint=False, db_index=False
    )
    implicit = models.FloatField(null=True)
    explicit = models.FloatField(null=True)
    thumbs = models.SmallIntegerField(null=True)
    thumbs_at = models.DateTimeField(null=True)
    events = models.PositiveIntegerField(default=0)
    actions = models.PositiveIntegerField(default=0)
    impressions = models.PositiveIntegerField(default=0)
    click = models.FloatField(default=0.0)
    dwell_us = models.BigIntegerField(default=0, help_text="Dwell time in microseconds: whole numbers add up exactly.")
    scroll = models.FloatField(default=0.0)
    rating = models.FloatField(null=True)
    rating_at = models.DateTimeField(null=True)
    nps = models.FloatField(null=True)
    nps_at = models.DateTimeField(null=True)
    sentiment = models.FloatField(null=True)
    sentiment_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"implicit {self.implicit}, explicit {self.explicit}"


class ScoreCell(models.Model):
    """Sums (feedback.totals.Totals) over the inquiries of a day, category, reply and model version.

    An inquiry that is erased is taken out before it goes (feedback/erasure.py).
    """

    project = models.ForeignKey(
        "feedback.Project", on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    day = models.DateField(help_text="Day (UTC) on which the inquiry arrived.")
    category = models.ForeignKey(
        "feedback.Category", on_delete=models.CASCADE, null=True, related_name="+", db_constraint=False, db_index=False
    )
    reply = models.ForeignKey(
        "feedback.Reply", on_delete=models.CASCADE, null=True, related_name="+", db_constraint=False, db_index=False
    )
    model = models.CharField(max_length=80, default="", blank=True)
    inquiries = models.BigIntegerField(default=0)
    events = models.BigIntegerField(default=0)
    impressions = models.BigIntegerField(default=0)
    exposures = models.BigIntegerField(default=0)
    clicked = models.BigIntegerField(default=0)
    implicit_count = models.BigIntegerField(default=0)
    implicit_sum = models.BigIntegerField(default=0)
    explicit_count = models.BigIntegerField(default=0)
    explicit_sum = models.BigIntegerField(default=0)
    ups = models.BigIntegerField(default=0)
    downs = models.BigIntegerField(default=0)
    promoters = models.BigIntegerField(default=0)
    passives = models.BigIntegerField(default=0)
    detractors = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            # Differences are added to the one row of their group; figures of a period read it by project and day.
            models.UniqueConstraint(
                fields=["project", "day", "category", "reply", "model"], nulls_distinct=False, name="score_cell_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.model}"
