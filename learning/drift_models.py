"""What is known of change: references, drift reports, verdicts, and how much the loop feeds on itself."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

SHARE = [MinValueValidator(0.0), MaxValueValidator(1.0)]


class DriftSettings(models.Model):
    """When a project is looked at, how often it may be alarmed for nothing, and when it is retrained."""

    project = models.OneToOneField("feedback.Project", on_delete=models.CASCADE, primary_key=True, related_name="drift")
    check_after = models.PositiveIntegerField(
        default=500, validators=[MinValueValidator(50)], help_text="New inquiries after which a check is made at once."
    )
    reference_size = models.PositiveIntegerField(
        default=8_000, validators=[MinValueValidator(200), MaxValueValidator(20_000)], help_text="Texts in a reference."
    )
    false_alarms = models.FloatField(
        default=0.05, validators=SHARE, help_text="Chance of one false alarm in a month, over all checks."
    )
    least_accuracy = models.FloatField(default=0.85, validators=SHARE)
    most_drop = models.FloatField(default=0.05, validators=SHARE)
    audited = models.PositiveIntegerField(
        default=200, validators=[MinValueValidator(30)], help_text="Audited answers that a verdict needs."
    )
    critical_checks = models.PositiveSmallIntegerField(
        default=3, validators=[MinValueValidator(1)], help_text="Critical checks in a row that ask for a training."
    )
    cool_down_days = models.FloatField(default=1.0, validators=[MinValueValidator(0.0)])
    alpha_bound = models.FloatField(
        default=0.5, validators=SHARE, help_text="Share of training weight that may be the model's own opinion."
    )
    guard_weights = models.BooleanField(
        default=True, help_text="Weigh labels so that the bound holds, where it is passed."
    )
    # What things cost, in human labels: only their ratio orders the monitors.
    error_cost = models.FloatField(default=5.0, validators=[MinValueValidator(0.0)])
    cpu_hour_cost = models.FloatField(default=2.0, validators=[MinValueValidator(0.0)])

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(false_alarms__gt=0, false_alarms__lt=1, alpha_bound__gt=0, alpha_bound__lt=1),
                name="drift_settings_shares",
            )
        ]

    def __str__(self) -> str:
        return f"drift of {self.project_id}"

    @classmethod
    def of(cls, project_id: int) -> DriftSettings:
        return cls.objects.filter(pk=project_id).first() or cls(project_id=project_id)


class DriftReference(models.Model):
    """The texts that windows are compared with: a content-addressed manifest of ids and labels (no text).

    Their embeddings are rows of their own, so that an erasure reaches them; `embeddings_sha256` tells whether they still
    are what they were.
    """

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="drift_references")
    encoder_sha = models.CharField(max_length=64)
    sha256 = models.CharField(max_length=64, help_text="Of the manifest.")
    embeddings_sha256 = models.CharField(max_length=64)
    size = models.PositiveIntegerField()
    labels = models.PositiveIntegerField(help_text="Labels that the test's own head was trained on; 0: none.")
    upto = models.DateTimeField(help_text="The newest text's arrival: windows begin after it.")
    model = models.ForeignKey("serving.ModelVersion", on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "sha256"], name="drift_reference_once")]

    def __str__(self) -> str:
        return f"{self.size} texts {self.sha256[:8]}"


class DriftState(models.TextChoices):
    STEADY = "steady", "Nothing beyond chance"
    WARNING = "warning", "Unusual, though not beyond the stated rate of false alarms"
    CRITICAL = "critical", "Beyond chance"


class Trigger(models.TextChoices):
    DAILY = "daily", "The daily check"
    INQUIRIES = "inquiries", "Enough new inquiries"
    HAND = "hand", "By hand"


class DriftReport(models.Model):
    """One window beside its reference. `window` names the manifest of its ids; from both the report can be made again."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="drift_reports")
    job = models.ForeignKey("feedback.Job", on_delete=models.SET_NULL, null=True, related_name="+")
    reference = models.ForeignKey(DriftReference, on_delete=models.PROTECT, related_name="reports")
    encoder_sha = models.CharField(max_length=64)
    trigger = models.CharField(max_length=10, choices=Trigger)
    window = models.CharField(max_length=64)
    begins = models.DateTimeField()
    ends = models.DateTimeField()
    n = models.PositiveIntegerField()
    looks = models.PositiveIntegerField(help_text="Looks that share the month's chance of a false alarm.")
    resamples = models.PositiveIntegerField()
    level = models.FloatField(help_text="Chance of a false alarm in this one look.")
    state = models.CharField(max_length=8, choices=DriftState)
    statistic = models.FloatField()
    threshold = models.FloatField()
    p_value = models.FloatField()
    # {novelty, novel_density, cell_shares}: z against the calibration.
    parts = models.JSONField(default=dict)
    # [{name, value, p, drifted, part}]: the parts, and detectors by name beside the default.
    detectors = models.JSONField(default=list)
    # [{by, value, n, p, drifted}]: the same test within a locale, a channel, a category.
    slices = models.JSONField(default=list)
    # p-values of input, prediction, label, concept, calibration (null: not measured), and the kinds as codes.
    signals = models.JSONField(default=dict)
    kinds = models.JSONField(default=list)
    # [{inquiry, p, companions}] and [{category, window, reference, z}].
    examples = models.JSONField(default=list)
    shifts = models.JSONField(default=list)
    cpu_seconds = models.FloatField(default=0.0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            # A job that resumes does not report twice.
            models.UniqueConstraint(fields=["job", "encoder_sha"], name="drift_report_once_per_job"),
            models.CheckConstraint(condition=Q(p_value__gt=0, p_value__lte=1), name="drift_p_value_is_one"),
        ]
        indexes = [models.Index(fields=["project", "-created_at"], name="drift_history")]

    def __str__(self) -> str:
        return f"{self.state} p={self.p_value:.4f}"

    @property
    def drifted(self) -> bool:
        return self.state == DriftState.CRITICAL


class RetrainingVerdict(models.Model):
    """What a check made of audited accuracy and drift together, and the training that it asked for."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="verdicts")
    job = models.OneToOneField("feedback.Job", on_delete=models.SET_NULL, null=True, related_name="+")
    training = models.ForeignKey("feedback.Job", on_delete=models.SET_NULL, null=True, related_name="+")
    retrain = models.BooleanField()
    reason = models.CharField(max_length=20)
    # Why a training is wanted while the last one cools down ('' where nothing is).
    wanted = models.CharField(max_length=20, default="", blank=True)
    critical_in_a_row = models.PositiveSmallIntegerField(default=0)
    days_since_training = models.FloatField(null=True)
    # {value, lower, upper, n, effective_n, drawn}; null before any audited answer.
    now = models.JSONField(null=True)
    before = models.JSONField(null=True)
    # {start, floor, rate, since, reached, points: [{day, correct, n}]}, and when accuracy is expected at the threshold.
    decay = models.JSONField(null=True)
    expected_on = models.DateField(null=True)
    earliest_on = models.DateField(null=True)
    latest_on = models.DateField(null=True)
    # [{name, chance, value, cost, worth, pays}], best first.
    monitors = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["project", "-created_at"], name="verdict_history")]

    def __str__(self) -> str:
        return f"{self.reason} ({'retrain' if self.retrain else 'leave'})"


class GuardReport(models.Model):
    """How much of what a version was, or is about to be, trained on is the model's own opinion."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="guard_reports")
    job = models.ForeignKey("feedback.Job", on_delete=models.SET_NULL, null=True, related_name="+")
    encoder_sha = models.CharField(max_length=64)
    labels = models.PositiveIntegerField()
    alpha = models.FloatField()
    lower = models.FloatField()
    upper = models.FloatField()
    own = models.FloatField()
    seen = models.FloatField()
    ceiling = models.FloatField()
    copy_rate = models.FloatField(null=True, help_text="Share of shown suggestions taken over unread; null: unknown.")
    exposure = models.FloatField(null=True)
    eigenvalue = models.FloatField(null=True)
    # Exponent of the model's sharpening p^power, and the class shares that the audit found, by category key.
    power = models.FloatField(null=True)
    shares = models.JSONField(default=dict)
    training_shares = models.JSONField(default=dict)
    audited = models.PositiveIntegerField(default=0)
    bound = models.FloatField()
    alarms = models.JSONField(default=list)
    # A training's labels were weighed so that the bound holds; the share of what may be copied after that.
    guarded = models.BooleanField(default=False)
    ceiling_guarded = models.FloatField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "encoder_sha"], name="guard_report_once_per_job"),
        ]
        indexes = [models.Index(fields=["project", "-created_at"], name="guard_history")]

    def __str__(self) -> str:
        return f"α {self.alpha:.2f} ({self.lower:.2f} to {self.upper:.2f})"
