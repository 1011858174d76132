"""Files that travel with a job, kept in PostgreSQL so that every worker reaches them, and what an import did not take."""

from __future__ import annotations

from django.db import models


class ExchangeFile(models.Model):
    """An uploaded file that waits for its import, or one made for download. Texts lie in it, so it does not live long."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=200)
    size = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    # An upload goes when its import ends; what is left after this is removed.
    expires_at = models.DateTimeField()

    class Meta:
        app_label = "labeling"
        indexes = [models.Index(fields=["expires_at"], name="exchange_file_expires")]

    def __str__(self) -> str:
        return self.name


class ExchangeChunk(models.Model):
    """A piece of a file, in the order of `number`."""

    file = models.ForeignKey(ExchangeFile, on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        app_label = "labeling"
        constraints = [models.UniqueConstraint(fields=["file", "number"], name="exchange_chunk_once")]

    def __str__(self) -> str:
        return f"{self.file_id} #{self.number}"


class ImportFault(models.Model):
    """A row that an import did not take: where it is, and what to do. Never what it says."""

    job = models.ForeignKey("feedback.Job", on_delete=models.CASCADE, related_name="+")
    row = models.PositiveBigIntegerField()
    field = models.CharField(max_length=200, default="", blank=True)
    advice = models.TextField()

    class Meta:
        app_label = "labeling"
        indexes = [models.Index(fields=["job", "id"], name="import_fault_by_job")]

    def __str__(self) -> str:
        return f"row {self.row}: {self.field} {self.advice}"
