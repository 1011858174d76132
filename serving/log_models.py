"""The log of API requests as a table (serving/request_log.py writes it)."""

from __future__ import annotations

from django.db import models


class RequestLog(models.Model):
    """A line: partitioned by day, so the moment is a part of its key. No foreign keys: it outlives what it names."""

    pk = models.CompositePrimaryKey("at", "id")
    id = models.BigIntegerField()
    at = models.DateTimeField()
    request_id = models.CharField(max_length=64)
    endpoint = models.CharField(max_length=60)
    method = models.CharField(max_length=8)
    status = models.PositiveSmallIntegerField()
    ms = models.FloatField()
    project_id = models.BigIntegerField(null=True)
    model = models.CharField(max_length=80)
    step = models.CharField(max_length=10)
    decision = models.CharField(max_length=5)

    class Meta:
        app_label = "serving"
        indexes = [models.Index(fields=["request_id"], name="requestlog_request")]

    def __str__(self) -> str:
        return f"{self.endpoint} {self.status}"
