"""Selections over a project's whole queue, in parts."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from feedback.models import JobState


class SelectionState(models.TextChoices):
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"


class Selection(models.Model):
    """One batch picked from all open selection tasks of an encoder variant: parts that look, and one that picks."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="selections")
    encoder_sha = models.CharField(max_length=64)
    strategy = models.CharField(max_length=40)
    seed = models.PositiveBigIntegerField()
    wanted = models.PositiveIntegerField(help_text="Tasks to pick.")
    items = models.PositiveIntegerField(help_text="Open tasks when it began.")
    last_task = models.BigIntegerField(help_text="Tasks with a larger id came later and keep their place.")
    picker = models.ForeignKey("feedback.Job", on_delete=models.SET_NULL, null=True, related_name="+")
    state = models.CharField(max_length=10, choices=SelectionState, default=SelectionState.RUNNING)
    why = models.CharField(max_length=500, default="", blank=True)
    # {"picked": …, "exact": …, "looked_at": …, "moved": …}
    result = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "encoder_sha"], condition=Q(state="running"), name="selection_one_at_a_time"
            ),
        ]

    def __str__(self) -> str:
        return f"selection {self.pk} by {self.strategy} {self.state}"

    @classmethod
    def lost(cls) -> models.QuerySet[Selection]:
        """Selections that wait for a job which has died or was cancelled."""
        over = [JobState.DEAD, JobState.CANCELLED]
        missing = SelectionPart.objects.filter(Q(job__state__in=over) | Q(job=None), found=None)
        return cls.objects.filter(
            Q(pk__in=missing.values("selection_id")) | Q(picker__state__in=over), state=SelectionState.RUNNING
        )


class SelectionPart(models.Model):
    """What one shard of the queue sends to whoever picks: ids and numbers, no vectors. Told once, whoever ran it and how often."""

    selection = models.ForeignKey(Selection, on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    segments = models.JSONField(help_text="Segments of the pool, by number.")
    job = models.ForeignKey("feedback.Job", on_delete=models.SET_NULL, null=True, related_name="+")
    found = models.BinaryField(null=True)
    items = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["selection", "number"], name="selection_part_once")]

    def __str__(self) -> str:
        return f"part {self.number} of selection {self.selection_id}"
