"""What an MLflow server has been told of each run."""

from __future__ import annotations

from django.db import models


class MirroredRun(models.Model):
    """A run as it stands on an MLflow server: a digest of what was told last, so that only what has moved is told again."""

    run = models.OneToOneField(
        "learning.TrainingRun", on_delete=models.CASCADE, primary_key=True, related_name="mirrored"
    )
    server = models.CharField(max_length=200)
    remote_run = models.CharField(max_length=64)
    remote_version = models.CharField(max_length=20, default="", blank=True)
    uploaded = models.BooleanField(default=False, help_text="The bundle lies on the server.")
    digest = models.CharField(max_length=64)
    mirrored_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.run} as {self.remote_run[:8]}"
