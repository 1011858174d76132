"""What belongs to a case of the escalation console, and how soon a project means to answer."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from labeling.escalation import Calendar, parse_hours

ALWAYS = ["00:00–24:00"] * 7
# Minutes of opening hours until the first response and until the case is resolved.
TARGETS = {"urgent": [30, 240], "high": [60, 480], "normal": [240, 1440], "low": [480, 2880]}


def always() -> list[str]:
    return list(ALWAYS)


def default_targets() -> dict[str, list[int]]:
    return {level: list(minutes) for level, minutes in TARGETS.items()}


class Level(models.TextChoices):
    URGENT = "urgent", "Urgent"
    HIGH = "high", "High"
    NORMAL = "normal", "Normal"
    LOW = "low", "Low"


class Outcome(models.TextChoices):
    ANSWERED = "answered", "Answered"
    NO_REPLY = "no_reply", "No reply was needed"
    ELSEWHERE = "elsewhere", "Handled elsewhere"


class ServiceLevel(models.Model):
    """A project's opening hours and targets. Without a row the clock runs day and night, with the default targets."""

    project = models.OneToOneField(
        "feedback.Project", on_delete=models.CASCADE, primary_key=True, related_name="service_level"
    )
    zone = models.CharField(max_length=64, default="UTC")
    hours = models.JSONField(default=always, help_text="Seven texts from Monday, such as “09:00–18:00”.")
    holidays = ArrayField(models.DateField(), default=list, blank=True)
    targets = models.JSONField(default=default_targets)
    value_key = models.CharField(max_length=60, default="customer_value")
    value_tiers = models.JSONField(default=dict, blank=True)
    alert_emails = ArrayField(models.EmailField(), default=list, blank=True)

    def __str__(self) -> str:
        return f"service level of {self.project_id}"

    def calendar(self) -> Calendar:
        return Calendar(ZoneInfo(self.zone), tuple(parse_hours(h) for h in self.hours), frozenset(self.holidays))

    def minutes(self, level: str) -> tuple[int, int]:
        """Until the first response, until the resolution."""
        first, last = self.targets.get(level) or TARGETS[level]
        return int(first), int(last)


class EntryKind(models.TextChoices):
    NOTE = "note", "Note"
    REPLY = "reply", "Reply"
    ASSIGNED = "assigned", "Assigned"
    RELEASED = "released", "Given back"
    SNOOZED = "snoozed", "Snoozed"
    WOKEN = "woken", "Woken"
    LEVEL = "level", "Priority changed"
    BREACHED = "breached", "Target missed"
    RESOLVED = "resolved", "Resolved"
    UNDONE = "undone", "Taken back"


class CaseEntry(models.Model):
    """One thing that was done with a case, in order: notes and replies carry a text, the others data."""

    case = models.ForeignKey("labeling.Escalation", on_delete=models.CASCADE, related_name="entries")
    kind = models.CharField(max_length=10, choices=EntryKind)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    text = models.TextField(default="", blank=True)
    data = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "case entries"
        indexes = [
            # The story of a case, in order.
            models.Index(fields=["case", "id"], name="case_entry_story"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} on {self.case_id}"


class FindingKind(models.TextChoices):
    PREFERRED_REPLY = "preferred", "A better reply than the automatic one"
    GUIDELINE = "guideline", "A guideline needs a change"
    BLOCKED_MODEL = "blocked", "The model version must not serve"


class CaseFinding(models.Model):
    """What a resolution teaches beyond its label. A guideline's change waits for a lead, who accepts or dismisses it."""

    case = models.ForeignKey("labeling.Escalation", on_delete=models.CASCADE, related_name="findings")
    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=10, choices=FindingKind)
    category = models.ForeignKey("feedback.Category", on_delete=models.CASCADE, null=True, related_name="+")
    entry = models.ForeignKey(CaseEntry, on_delete=models.CASCADE, null=True, related_name="+")
    rejected = models.ForeignKey("feedback.Reply", on_delete=models.CASCADE, null=True, related_name="+")
    text = models.TextField(default="", blank=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    accepted = models.BooleanField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["case", "kind"], name="case_finding_once"),
            models.CheckConstraint(
                condition=~Q(kind="preferred") | Q(entry__isnull=False, rejected__isnull=False),
                name="case_finding_preferred_is_a_pair",
            ),
        ]
        indexes = [
            # Proposed guidelines that wait for a lead.
            models.Index(fields=["project", "id"], condition=Q(kind="guideline", decided_at=None), name="finding_open"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} from {self.case_id}"


class CaseBatch(models.Model):
    """One action on several cases, with what they were before: it can be taken back while nobody has touched them."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    action = models.CharField(max_length=10)
    items: Any = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    undone_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "case batches"

    def __str__(self) -> str:
        return f"{self.action} on {len(self.items)} cases"


class CaseViewer(models.Model):
    """Who has a case open: refreshed by the page while it is in front, forgotten by time."""

    case = models.ForeignKey("labeling.Escalation", on_delete=models.CASCADE, related_name="viewers")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["case", "user"], name="case_viewer_once")]

    def __str__(self) -> str:
        return f"{self.user_id} views {self.case_id}"
