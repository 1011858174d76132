"""Where events are told to a project's own systems, and what became of each."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q


class Webhook(models.Model):
    """An address that events are posted to. Its secrets are sealed in the vault; the old one signs too until it ends."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="webhooks")
    url = models.URLField(max_length=2000)
    kinds = ArrayField(models.CharField(max_length=60))
    secret = models.BinaryField()
    old_secret = models.BinaryField(null=True, blank=True)
    old_secret_until = models.DateTimeField(null=True, blank=True)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    # The circuit: failures in a row, and until when nothing is sent because of them.
    failures = models.PositiveIntegerField(default=0)
    open_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "url"], name="webhook_url_once"),
            models.CheckConstraint(condition=~Q(kinds=[]), name="webhook_has_kinds"),
        ]

    def __str__(self) -> str:
        return f"webhook {self.pk} of {self.project_id}"


class NoticeState(models.TextChoices):
    PENDING = "pending", "Waiting"
    DELIVERED = "delivered", "Delivered"
    DEAD = "dead", "Given up"


class Notice(models.Model):
    """One event for one webhook. The body holds ids and plain values, never a customer's text."""

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="notices")
    event = models.CharField(max_length=40)
    kind = models.CharField(max_length=60)
    body = models.TextField()
    state = models.CharField(max_length=10, choices=NoticeState, default=NoticeState.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    # Attempts since the last replay decide about the next delay; a worker holds a notice until `held_until`.
    tries = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField()
    held_until = models.DateTimeField(null=True, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=300, default="", blank=True)
    request_id = models.CharField(max_length=64, default="", db_default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["webhook", "event"], name="notice_once")]
        indexes = [
            # What is to be sent next, and the latest of one webhook.
            models.Index(fields=["due_at", "id"], condition=Q(state="pending"), name="notice_due"),
            models.Index(fields=["webhook"], condition=Q(state="dead"), name="notice_dead"),
            models.Index(fields=["webhook", "-id"], name="notice_recent"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"
