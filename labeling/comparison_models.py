"""Two replies to one inquiry that people compare: the comparison, room for each answer, and the answers."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q


class Verdict(models.TextChoices):
    """Of the pair as it is stored, whichever side a person saw on the left."""

    FIRST = "first", "The first is better"
    SECOND = "second", "The second is better"
    TIE = "tie", "As good as each other"
    NEITHER = "neither", "Neither should be sent"
    SKIP = "skip", "Left to others"


class Comparison(models.Model):
    """ "Which of these two replies is better for this inquiry", asked of `overlap` people.

    `verdict` is what all of them said, empty where they differ: each answer is a preference of its own.
    """

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="comparisons")
    inquiry = models.ForeignKey("feedback.Inquiry", on_delete=models.CASCADE, related_name="comparisons")
    first = models.ForeignKey("feedback.Reply", on_delete=models.CASCADE, related_name="+")
    second = models.ForeignKey("feedback.Reply", on_delete=models.CASCADE, related_name="+")
    overlap = models.PositiveSmallIntegerField()
    priority = models.FloatField(default=0.0)
    reason = models.JSONField(default=dict, help_text="Why these two are asked about: the policy's shares.")
    verdict = models.CharField(max_length=8, choices=Verdict, default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            # A pair has one order, so that it cannot be asked twice of one inquiry.
            models.CheckConstraint(condition=Q(first__lt=F("second")), name="comparison_in_order"),
            models.UniqueConstraint(fields=["inquiry", "first", "second"], name="comparison_once_per_inquiry"),
            models.CheckConstraint(condition=Q(overlap__gte=1, overlap__lte=10), name="comparison_overlap_1_to_10"),
        ]
        indexes = [models.Index(fields=["project", "-id"], name="comparison_by_project")]

    def __str__(self) -> str:
        return f"replies {self.first_id} and {self.second_id} to {self.inquiry_id}"


class ComparisonSlot(models.Model):
    """Room for one answer, with the columns that the claim reads (labeling/lanes.py)."""

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="slots", db_index=False)
    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+", db_index=False)
    number = models.PositiveSmallIntegerField()
    state = models.CharField(
        max_length=8, choices=[("open", "Open"), ("leased", "Leased"), ("done", "Done")], default="open"
    )
    priority = models.FloatField(default=0.0)
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    token = models.UUIDField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    language = models.CharField(max_length=8, default="", blank=True, help_text="'' is for everybody.")
    skill = models.BigIntegerField(default=0, help_text="Category that needs qualified people; 0 is for everybody.")
    barred = ArrayField(models.BigIntegerField(), default=list, blank=True, help_text="Who has answered or skipped it.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["comparison", "number"], name="compared_number_once"),
            models.UniqueConstraint(fields=["comparison", "annotator"], name="compared_annotator_once"),
            models.CheckConstraint(
                condition=Q(state="open", annotator=None, token=None, lease_expires_at=None)
                | Q(state="leased", annotator__isnull=False, token__isnull=False, lease_expires_at__isnull=False)
                | Q(state="done", annotator__isnull=False, token__isnull=False, lease_expires_at=None),
                name="compared_state_matches_lease",
            ),
            models.UniqueConstraint(
                fields=["annotator", "project"], condition=Q(state="leased"), name="compared_one_in_hand"
            ),
        ]
        indexes = [
            models.Index(
                fields=["project", "language", "skill", "barred", "-priority", "id"],
                condition=Q(state="open"),
                name="compared_lane",
            ),
            models.Index(fields=["project", "lease_expires_at"], condition=Q(state="leased"), name="compared_leased"),
        ]

    def __str__(self) -> str:
        return f"slot {self.number} of comparison {self.comparison_id}"


class ComparisonAnswer(models.Model):
    """One person's verdict on one comparison. One that came on a lost lease, or a skip, has no slot and never counts."""

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="answers")
    slot = models.OneToOneField(ComparisonSlot, on_delete=models.CASCADE, null=True, related_name="answer")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    verdict = models.CharField(max_length=8, choices=Verdict)
    swapped = models.BooleanField(help_text="Whether the second reply was shown as A.")
    token = models.UUIDField(help_text="The lease it was submitted on: makes submission idempotent.")
    seconds = models.FloatField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["comparison", "annotator"], name="compared_once_per_person"),
            models.CheckConstraint(condition=~Q(verdict="skip") | Q(slot=None), name="compared_skip_has_no_slot"),
        ]
        indexes = [models.Index(fields=["annotator", "-created_at"], name="compared_history")]

    def __str__(self) -> str:
        return f"{self.annotator_id} says {self.verdict} on {self.comparison_id}"
