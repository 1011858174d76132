"""What the model answered late."""

from __future__ import annotations

from django.db import models


class LateAnswer(models.Model):
    """An inquiry that waited for a person until a version was sure of it. What was decided when it arrived stays in its
    decision record; never changed afterwards."""

    inquiry = models.OneToOneField("feedback.Inquiry", on_delete=models.CASCADE, primary_key=True, related_name="late")
    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+")
    model = models.ForeignKey("serving.ModelVersion", on_delete=models.PROTECT, related_name="+")
    model_name = models.CharField(max_length=80)
    delta = models.PositiveIntegerField(default=0)
    category = models.ForeignKey("feedback.Category", on_delete=models.PROTECT, related_name="+")
    confidence = models.FloatField()
    # {"category": …, "confidence": …, "reply": {"id": …, "text": …} or None}, as the app is told.
    answer = models.JSONField(default=dict)
    answered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["project", "-answered_at"], name="late_answer_recent")]

    def __str__(self) -> str:
        return f"late answer at {self.confidence:.2f}"
