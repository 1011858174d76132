"""The same event as feedback.Event, as a first version of such a service would keep it: no join, no score, no hash."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class UsualEvent(models.Model):
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    event_id = models.CharField(max_length=200, unique=True)
    inquiry = models.CharField(max_length=200, db_index=True)
    type = models.CharField(
        max_length=10,
        choices=[(k, k) for k in ("impression", "click", "dwell", "scroll", "thumbs", "rating", "nps", "comment")],
    )
    value = models.CharField(max_length=20, blank=True, default="")
    text = models.TextField(blank=True, default="")
    customer = models.CharField(max_length=200, blank=True, default="")
    occurred_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.event_id
