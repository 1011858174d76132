"""Rows behind the mechanisms: what must follow a commit, what was already answered, what runs in the background."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q


class OutboxState(models.TextChoices):
    PENDING = "pending", "Pending"
    DONE = "done", "Done"
    DEAD = "dead", "Dead"


class OutboxEvent(models.Model):
    """What must follow a commit, written in the same transaction. Payloads hold ids, never texts."""

    kind = models.CharField(max_length=60)
    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, null=True, related_name="+")
    payload = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=OutboxState, default=OutboxState.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    available_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)
    error = models.TextField(default="", blank=True)
    # The request that it goes back to (feedback/logs.py); '' where nobody asked, or where many were stored together.
    request_id = models.CharField(max_length=64, default="", db_default="", blank=True)

    class Meta:
        indexes = [
            # The relay claims by state, never by "id > last seen": ids commit out of order.
            models.Index(fields=["available_at", "id"], condition=Q(state="pending"), name="outbox_pending"),
            # Those that were given up are few, and counted each time that somebody looks (/metrics).
            models.Index(fields=["id"], condition=Q(state="dead"), name="outbox_dead"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"


class Delivery(models.Model):
    """One consumer has handled one event: written in the consumer's own transaction, so it happens once."""

    consumer = models.CharField(max_length=60)
    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="deliveries")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["consumer", "event"], name="delivery_once")]

    def __str__(self) -> str:
        return f"{self.consumer} has {self.event_id}"


class IdempotencyRecord(models.Model):
    """The answer that a key was given, kept in the transaction of the write."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+")
    principal = models.CharField(max_length=80)
    route = models.CharField(max_length=120)
    key = models.CharField(max_length=200)
    request_sha = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField()
    body = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "principal", "route", "key"], name="idempotency_key_once")
        ]

    def __str__(self) -> str:
        return f"{self.route} {self.key}"


class JobState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed, will be tried again"
    CANCELLED = "cancelled", "Cancelled"
    DEAD = "dead", "Dead"


class Job(models.Model):
    """A long job. This row is the truth; a Celery message is only a wake-up."""

    kind = models.CharField(max_length=40)
    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="jobs")
    params = models.JSONField(default=dict)
    # Jobs with the same key do not run at the same time ("train:3"): the partial unique index below holds it.
    exclusive_key = models.CharField(max_length=120, null=True, blank=True)  # noqa: DJ001 - null is "not exclusive"
    state = models.CharField(max_length=10, choices=JobState, default=JobState.QUEUED)
    attempt = models.PositiveSmallIntegerField(default=0)
    token = models.UUIDField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    progress = models.FloatField(default=0.0)
    stage = models.CharField(max_length=120, default="", blank=True)
    result = models.JSONField(default=dict)
    checkpoint = models.JSONField(default=dict)
    errors = ArrayField(models.TextField(), default=list)
    cancel_requested = models.BooleanField(default=False)
    # Something asked for the same work while this job ran: it is queued once more when it ends.
    again = models.BooleanField(default=False)
    request_id = models.CharField(max_length=64, default="", db_default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["exclusive_key"], condition=Q(state__in=["queued", "running", "failed"]), name="job_exclusive"
            ),
            models.CheckConstraint(condition=Q(progress__gte=0, progress__lte=1), name="job_progress_is_share"),
        ]
        indexes = [
            # The sweeper looks at unfinished jobs only.
            models.Index(
                fields=["heartbeat_at"], condition=Q(state__in=["queued", "running", "failed"]), name="job_unfinished"
            ),
            models.Index(fields=["project", "-created_at"], name="job_recent"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk} {self.state}"
