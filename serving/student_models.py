"""The fast step of the cascade: encoders distilled from a project's own, and when they hand a text on."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class StudentStage(models.TextChoices):
    PRODUCTION = "production", "Production"
    ARCHIVED = "archived", "Archived"
    REJECTED = "rejected", "Rejected by a gate"


class Student(models.Model):
    """A static encoder distilled from `teacher_sha` on a project's unlabeled texts; its files lie under its own sha."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="students")
    teacher_sha = models.CharField(max_length=64)
    encoder_sha = models.CharField(max_length=64)
    stage = models.CharField(max_length=10, choices=StudentStage)
    texts = models.PositiveIntegerField(help_text="Distinct texts that it was distilled on.")
    texts_sha = models.CharField(max_length=64)
    metrics = models.JSONField(default=dict)
    gates = models.JSONField(default=list)
    # Somebody whose texts it was distilled on was erased: another one takes its place.
    outdated = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "encoder_sha"], name="student_once"),
            models.UniqueConstraint(
                fields=["project", "teacher_sha"], condition=Q(stage="production"), name="student_one_in_production"
            ),
        ]

    def __str__(self) -> str:
        return f"student {self.encoder_sha[:8]} of {self.teacher_sha[:8]}"


class Cascade(models.Model):
    """When the head `fast` hands a text to the head `slow`: chosen for this pair, on texts that neither has learned from.

    `slow` is the reference that the loss is stated against. A pair without a row serves without a cascade.
    """

    student = models.ForeignKey(Student, on_delete=models.CASCADE, related_name="cascades")
    fast = models.ForeignKey("serving.ModelVersion", on_delete=models.CASCADE, related_name="+")
    slow = models.ForeignKey("serving.ModelVersion", on_delete=models.CASCADE, related_name="+")
    least_sure = models.FloatField(help_text="log(p₁/p₂) below which a text goes up.")
    least_known = models.FloatField(help_text="Share of known n-grams below which a text goes up.")
    margin = models.FloatField(help_text="Accuracy that may be lost against `slow`, as a fraction.")
    up_share = models.FloatField()
    expected_loss = models.FloatField()
    texts = models.PositiveIntegerField(help_text="Held-out texts that the thresholds were chosen on.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["fast", "slow"], name="cascade_once"),
            models.CheckConstraint(
                condition=Q(up_share__gte=0, up_share__lte=1, least_known__gte=0, least_known__lte=1),
                name="cascade_shares",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.fast} before {self.slow}"
