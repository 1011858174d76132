"""Projects, their categories and replies, and the client apps that post to them."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

SHARE = [MinValueValidator(0.0), MaxValueValidator(1.0)]


class Project(models.Model):
    """One inquiry desk: its categories, thresholds and policy. Everything else belongs to exactly one project."""

    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    # Raised with every change of settings, categories or replies: serving processes reload when it moves.
    revision = models.PositiveIntegerField(default=1)
    # An archived project takes nothing in and is shown to nobody but its leads, who can bring it back.
    archived_at = models.DateTimeField(null=True, blank=True)

    # Routing (DESIGN §1): below the confidence, or with a sentiment below the threshold, a person answers.
    confidence_threshold = models.FloatField(default=0.7, validators=SHARE)
    anger_threshold = models.FloatField(default=-0.5, validators=[MinValueValidator(-1.0), MaxValueValidator(1.0)])
    answers_by_hand = models.BooleanField(default=False, help_text="Unsure inquiries also open an escalation.")
    audit_rate = models.FloatField(
        default=0.05, validators=SHARE, help_text="Share of all inquiries drawn for the blind audit."
    )

    # Labeling
    overlap = models.PositiveSmallIntegerField(default=1, help_text="Annotations that each task needs.")
    lease_seconds = models.PositiveIntegerField(default=600)
    double_share = models.FloatField(
        default=0.0, validators=SHARE, help_text="Share of the tasks that get two annotations where one is the rule."
    )
    gold_rate = models.FloatField(
        default=0.0, validators=SHARE, help_text="Share of what annotators are handed that has a known answer."
    )
    patience_days = models.FloatField(
        default=7.0,
        validators=[MinValueValidator(0.01)],
        help_text="Waiting this long lifts a task as far as the whole range of selection.",
    )
    review_share = models.FloatField(
        default=0.05, validators=SHARE, help_text="Share of the items that an expert sees also when agreement is high."
    )
    strategy = models.CharField(
        max_length=40, default="default", help_text="Query strategy by name; `default` is the measured winner."
    )
    risk_share = models.FloatField(
        default=0.1, validators=SHARE, help_text="Share of the queue's order for what may be of high risk unseen."
    )
    diversity_share = models.FloatField(
        default=0.05, validators=SHARE, help_text="Share of the queue's order for what nothing labeled is like."
    )
    retire_sure = models.BooleanField(
        default=True, help_text="Let a new version answer what waits once it is sure of it, and ask nobody any more."
    )

    # Learning
    retrain_after_labels = models.PositiveIntegerField(default=50, help_text="New labels that trigger a training.")

    # Scores (DESIGN §4)
    click_weight = models.FloatField(default=0.4)
    dwell_weight = models.FloatField(default=0.4)
    scroll_weight = models.FloatField(default=0.2)
    dwell_rate = models.FloatField(default=0.05, help_text="λ of the dwell term, per second.")
    dwell_curve = models.CharField(
        max_length=12, default="exponential", choices=[("exponential", "1 − e^(−λt)"), ("tanh", "tanh(t/60)")]
    )
    rating_weight = models.FloatField(default=0.5)
    sentiment_weight = models.FloatField(default=0.3)
    nps_weight = models.FloatField(default=0.2)
    rating_min = models.PositiveSmallIntegerField(default=1)
    rating_max = models.PositiveSmallIntegerField(default=5)
    anonymous_weight = models.FloatField(
        default=0.2, validators=SHARE, help_text="What an event from a page counts that names no signed customer."
    )

    # Limits (feedback/limits.py): a request costs 1, an event in a batch a stated share.
    limit_per_minute = models.PositiveIntegerField(
        default=60_000, null=True, blank=True, help_text="Units that each key gains per minute; empty: no limit."
    )
    limit_burst = models.PositiveIntegerField(default=60_000, help_text="Units that a key can save up.")
    page_limit_per_minute = models.PositiveIntegerField(
        default=600, help_text="Requests per minute of one client address with a public key."
    )

    # Personal data (feedback/masking.py): 9 is a digit, A a letter, * one or more of both.
    order_templates = ArrayField(
        models.CharField(max_length=60), default=list, blank=True, help_text="How own order numbers look: EN-999999."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(overlap__gte=1, overlap__lte=10), name="project_overlap_1_to_10"),
            models.CheckConstraint(
                condition=Q(audit_rate__gte=0, audit_rate__lte=1), name="project_audit_rate_is_share"
            ),
            models.CheckConstraint(
                condition=Q(confidence_threshold__gte=0, confidence_threshold__lte=1),
                name="project_confidence_is_share",
            ),
            models.CheckConstraint(condition=Q(rating_max__gt=F("rating_min")), name="project_rating_range"),
            models.CheckConstraint(
                condition=Q(anonymous_weight__gte=0, anonymous_weight__lt=1), name="project_anonymous_weight_below_1"
            ),
            models.CheckConstraint(
                condition=Q(limit_per_minute=None) | Q(limit_per_minute__gte=1), name="project_limit_positive"
            ),
            models.CheckConstraint(
                condition=Q(limit_burst__gte=1, page_limit_per_minute__gte=1), name="project_bursts_positive"
            ),
            models.CheckConstraint(
                condition=Q(double_share__range=(0, 1), gold_rate__range=(0, 1), review_share__range=(0, 1)),
                name="project_label_shares",
            ),
            models.CheckConstraint(condition=Q(patience_days__gt=0), name="project_patience_positive"),
            models.CheckConstraint(
                condition=Q(risk_share__gte=0, diversity_share__gte=0, risk_share__lte=1.0 - F("diversity_share")),
                name="project_queue_shares",
                violation_error_message="risk_share and diversity_share are shares of one queue: together at most 1.",
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class Category(models.Model):
    """One answer to "what is this inquiry about". Never deleted while something refers to it: archived."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="categories")
    key = models.SlugField(max_length=100)
    name = models.CharField(max_length=200)
    names = models.JSONField(default=dict, blank=True, help_text="Name per language, {'ja': '…'}.")
    description = models.TextField(blank=True, default="")
    examples = ArrayField(models.TextField(), default=list, blank=True)
    guideline = models.TextField(blank=True, default="")
    high_risk = models.BooleanField(default=False)
    overlap = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10)],
        help_text="Annotations for items of this category; empty takes the project's.",
    )
    restricted = models.BooleanField(default=False, help_text="Only people qualified for it are handed its items.")
    position = models.PositiveIntegerField(default=0)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "key"], name="category_key_once"),
            models.CheckConstraint(
                condition=Q(overlap=None) | Q(overlap__gte=1, overlap__lte=10), name="category_overlap_1_to_10"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def name_in(self, language: str) -> str:
        return str(self.names.get(language) or self.name)


class Reply(models.Model):
    """A text that answers a category in a locale. A changed text is a new version; old ones stay, for the record."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="replies")
    category = models.ForeignKey(Category, on_delete=models.CASCADE, related_name="replies")
    locale = models.CharField(max_length=16, default="en")
    slot = models.PositiveSmallIntegerField(default=1, help_text="Candidate number within category and locale.")
    version = models.PositiveIntegerField(default=1)
    text = models.TextField()
    active = models.BooleanField(default=True)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="From then on a reply policy offers it no longer."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["category", "locale", "slot", "version"], name="reply_version_once"),
            models.UniqueConstraint(
                fields=["category", "locale", "slot"], condition=Q(active=True), name="reply_one_active_version"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.category.key} {self.locale} {self.slot} v{self.version}"


class ClientApp(models.Model):
    """A program that posts to one project."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="apps")
    name = models.CharField(max_length=100)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="client_app_once")]

    def __str__(self) -> str:
        return f"{self.project}: {self.name}"
