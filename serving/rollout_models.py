"""Rollouts: a candidate beside the version in production, step by step, and the evidence that moved it."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from serving.rollout import Course, Limits, percents


class RolloutSettings(models.Model):
    """How a project's new versions come into service; without a row the defaults hold."""

    class Mode(models.TextChoices):
        DIRECT = "direct", "At once, when the gates have passed"
        STEPWISE = "stepwise", "Step by step, beside the version that serves"

    project = models.OneToOneField(
        "feedback.Project", on_delete=models.CASCADE, primary_key=True, related_name="rollout_settings"
    )
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.DIRECT)
    minimum_per_arm = models.PositiveIntegerField(default=200, validators=[MinValueValidator(1)])
    minimum_audited = models.PositiveIntegerField(default=30)
    maximum_looks = models.PositiveIntegerField(default=14, validators=[MinValueValidator(1)])
    look_minutes = models.PositiveIntegerField(default=1440, validators=[MinValueValidator(1)])
    most_disagreement = models.FloatField(default=0.25, validators=[MinValueValidator(0.0), MaxValueValidator(1.0)])
    slow_ms = models.FloatField(default=100.0, validators=[MinValueValidator(1.0)])

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(minimum_per_arm__gte=1, maximum_looks__gte=1, look_minutes__gte=1, slow_ms__gt=0)
                & Q(most_disagreement__range=(0, 1)),
                name="rollout_limits",
            ),
        ]

    def __str__(self) -> str:
        return f"rollouts of {self.project_id}: {self.mode}"

    @classmethod
    def of(cls, project_id: int) -> RolloutSettings:
        return cls.objects.filter(pk=project_id).first() or cls(project_id=project_id)

    @property
    def limits(self) -> Limits:
        return Limits(
            self.minimum_per_arm, self.minimum_audited, self.maximum_looks, self.most_disagreement, self.slow_ms
        )


class RolloutState(models.TextChoices):
    RUNNING = "running", "Running"
    HELD = "held", "Held by a person"
    COMPLETED = "completed", "Everybody has it"
    ROLLED_BACK = "rolled_back", "Rolled back"
    ABORTED = "aborted", "Aborted"


IN_PROGRESS = Q(state__in=["running", "held"])


class Rollout(models.Model):
    """A candidate against the version that served when it began; at most one at a time per project and encoder variant."""

    class Kind(models.TextChoices):
        STEPWISE = "stepwise", "Step by step"
        AB = "ab", "A/B test"

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="rollouts")
    encoder_sha = models.CharField(max_length=64)
    candidate = models.ForeignKey("serving.ModelVersion", on_delete=models.CASCADE, related_name="rollouts")
    control = models.ForeignKey("serving.ModelVersion", on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.STEPWISE)
    state = models.CharField(max_length=11, choices=RolloutState, default=RolloutState.RUNNING)
    plan = models.JSONField(help_text="Percent of customers at each step; the last is 100.")
    step = models.PositiveSmallIntegerField(default=0)
    salt = models.CharField(max_length=32)
    # Why it stands where it does, as data ({"code": "harm", "metric": "accuracy", …}); the page says it in words.
    reason = models.JSONField(default=dict)
    limits = models.JSONField(default=dict, help_text="The limits as they were when it began.")
    started_by = models.CharField(max_length=80, default="", blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    looked_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)
    # Counts the writes: a look that began before a person moved the rollout is thrown away.
    version = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "encoder_sha"], condition=IN_PROGRESS, name="rollout_one_active"
            ),
            models.CheckConstraint(
                condition=IN_PROGRESS & Q(ended_at=None) | ~IN_PROGRESS & Q(ended_at__isnull=False),
                name="rollout_ended",
            ),
        ]
        indexes = [models.Index(fields=["project", "-created_at"], name="rollout_recent")]

    def __str__(self) -> str:
        return f"rollout {self.pk} {self.state}"

    @property
    def course(self) -> Course:
        return Course(percents(self.plan), self.step, self.state)  # type: ignore[arg-type]

    @property
    def limits_in_force(self) -> Limits:
        return Limits(**self.limits)


class RolloutStep(models.Model):
    """One step of a rollout: what it saw, how it ended and why."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="steps")
    number = models.PositiveSmallIntegerField()
    percent = models.PositiveSmallIntegerField()
    entered_at = models.DateTimeField(default=timezone.now)
    left_at = models.DateTimeField(null=True)
    customers = models.PositiveIntegerField(default=0, help_text="Customers of the smaller arm, each once per look.")
    looks = models.PositiveIntegerField(default=0)
    reason = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rollout", "number"], name="rollout_step_once")]

    def __str__(self) -> str:
        return f"step {self.number} at {self.percent} %"


class RolloutEvidence(models.Model):
    """What one watched metric has shown since the rollout began (serving.sequential.Evidence), and up to when."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="evidence")
    metric = models.CharField(max_length=20)
    stored = models.JSONField()
    until = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rollout", "metric"], name="rollout_evidence_once")]

    def __str__(self) -> str:
        return f"{self.metric} of rollout {self.rollout_id}"


class RolloutLook(models.Model):
    """One look at all of the evidence, as it was judged: what the chart of a rollout is drawn from."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="looks")
    at = models.DateTimeField()
    step = models.PositiveSmallIntegerField()
    action = models.CharField(max_length=8)
    e_value = models.FloatField()
    parts = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["rollout", "at"], name="rollout_look_by_time")]

    def __str__(self) -> str:
        return f"{self.action} at {self.e_value:.2f}"


class ShadowAnswer(models.Model):
    """What a candidate would have answered; nobody was shown it. One per inquiry and rollout."""

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="shadow", db_index=False)
    inquiry = models.ForeignKey("feedback.Inquiry", on_delete=models.CASCADE, related_name="+")
    category = models.ForeignKey("feedback.Category", on_delete=models.CASCADE, null=True, related_name="+")
    confidence = models.FloatField(default=0.0)
    differs = models.BooleanField(default=False)
    escalates = models.BooleanField(default=False)
    failed = models.BooleanField(default=False)
    answered_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rollout", "inquiry"], name="shadow_answer_once")]
        indexes = [models.Index(fields=["rollout", "answered_at"], name="shadow_answer_by_time")]

    def __str__(self) -> str:
        return f"shadow of {self.inquiry_id}"
