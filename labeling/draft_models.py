"""Drafts: replies that a language model wrote for open cases. Agents see them; a customer sees only what an agent sends."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q


class DraftState(models.TextChoices):
    WAITING = "waiting", "Waits for an agent"
    APPROVED = "approved", "Sent as it was"
    EDITED = "edited", "Sent with changes"
    REPLACED = "replaced", "Another reply was sent"
    DISMISSED = "dismissed", "Dismissed"
    NONE = "none", "The model wrote nothing that can be sent"


class Draft(models.Model):
    """What a model proposes to tell the customer of one case, and what an agent made of it."""

    case = models.OneToOneField("labeling.Escalation", on_delete=models.CASCADE, related_name="draft")
    text = models.TextField(blank=True)
    source = models.CharField(max_length=40, help_text="The version that wrote it, as people call it.")
    state = models.CharField(max_length=10, choices=DraftState, default=DraftState.WAITING)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    # What was sent in the end; empty after a dismissal.
    sent = models.ForeignKey("labeling.CaseEntry", on_delete=models.CASCADE, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="waiting", decided_at=None) | (~Q(state="waiting") & Q(decided_at__isnull=False)),
                name="draft_decided_with_its_time",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "dismissed", "none"], sent=None)
                | Q(state__in=["approved", "edited", "replaced"], sent__isnull=False),
                name="draft_sent_with_its_entry",
            ),
        ]

    def __str__(self) -> str:
        return f"draft of {self.source} for case {self.case_id}: {self.state}"
