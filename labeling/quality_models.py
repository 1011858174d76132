"""What the quality of labels is judged by: guidelines, qualifications, known items, batches, and counts kept as they change."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q


class Guideline(models.Model):
    """One version of a project's guidelines: what changed with it. Annotations remember the version they were given under."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="guidelines")
    number = models.PositiveIntegerField()
    category = models.ForeignKey("feedback.Category", on_delete=models.CASCADE, related_name="guidelines")
    text = models.TextField()
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    task = models.ForeignKey("labeling.LabelTask", on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="guideline_number_once")]

    def __str__(self) -> str:
        return f"guideline {self.number} of {self.project_id}"


class Qualification(models.Model):
    """What a person may label in a project. Without a row: every language, and no category that needs qualified people."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    languages = ArrayField(models.CharField(max_length=8), default=list, blank=True, help_text="Empty: every language.")
    categories = ArrayField(
        models.BigIntegerField(), default=list, blank=True, help_text="Ids of restricted categories."
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "annotator"], name="qualification_once")]

    def __str__(self) -> str:
        return f"{self.annotator_id} in {self.project_id}"


class GoldItem(models.Model):
    """A settled task whose answer is known: slipped in between the others to see who is right."""

    task = models.OneToOneField("labeling.LabelTask", on_delete=models.CASCADE, related_name="gold_item")
    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+")
    category = models.ForeignKey("feedback.Category", on_delete=models.PROTECT, related_name="+")
    active = models.BooleanField(default=True)

    class Meta:
        indexes = [models.Index(fields=["project", "id"], condition=Q(active=True), name="gold_active")]

    def __str__(self) -> str:
        return f"gold {self.task_id}"


class Band(models.TextChoices):
    """What an expert reviews of a batch."""

    ALL = "all", "Every item"
    DISAGREEMENTS = "disagreements", "The disagreements"
    NONE = "none", "Nothing but an audit sample"


class Batch(models.Model):
    """Consecutive tasks of a project, judged together by how well their annotators agree (labeling/policy.py)."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="batches")
    number = models.PositiveIntegerField()
    doubles = models.PositiveIntegerField(default=0, help_text="Items with two or more counted answers.")
    # The band that was in force while the batch was filled, and the one that its agreement led to.
    entered_as = models.CharField(max_length=14, choices=Band, default=Band.DISAGREEMENTS)
    band = models.CharField(max_length=14, choices=Band, default="", blank=True)
    kappa = models.FloatField(null=True)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    # Why this band, as data; the page says it in words.
    why = models.CharField(max_length=20, default="", blank=True)
    opened_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="batch_number_once"),
            models.UniqueConstraint(fields=["project"], condition=Q(closed_at=None), name="batch_one_open"),
            models.CheckConstraint(condition=Q(closed_at=None) | ~Q(band=""), name="batch_closed_has_band"),
        ]

    def __str__(self) -> str:
        return f"batch {self.number} of {self.project_id}"


class AgreementTally(models.Model):
    """How often two people gave two answers to one item: all coefficients of agreement follow from these counts.

    `size` is the number of counted answers that the item has; `first` < `second` by id. Kept as answers come and go.
    """

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+")
    week = models.DateField(help_text="Monday of the week in which the task was opened.")
    size = models.PositiveSmallIntegerField()
    first = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    second = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    says_first = models.ForeignKey("feedback.Category", on_delete=models.CASCADE, related_name="+")
    says_second = models.ForeignKey("feedback.Category", on_delete=models.CASCADE, related_name="+")
    items = models.IntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "week", "size", "first", "second", "says_first", "says_second"], name="tally_once"
            ),
            models.CheckConstraint(condition=Q(first__lt=F("second")), name="tally_in_order"),
        ]

    def __str__(self) -> str:
        return f"{self.first_id}, {self.second_id}: {self.items}"


class QueueTally(models.Model):
    """Changes of the queue's counters, written by database triggers and summed when they are read.

    Rows are only ever inserted, so that nobody waits for a counter; a task folds them together now and then.
    """

    # No foreign key: the triggers also run while a project is being deleted.
    project_id = models.BigIntegerField()
    what = models.CharField(max_length=24, help_text="task:<state>, or slot:<role>:open")
    n = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["project_id", "what"], include=["n"], name="queue_tally_sum")]

    def __str__(self) -> str:
        return f"{self.what} {self.n:+d}"


class AnnotatorDay(models.Model):
    """A person's work of one day in one project (UTC)."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    answers = models.IntegerField(default=0)
    skips = models.IntegerField(default=0)
    seconds = models.FloatField(default=0.0, help_text="Time on answers whose time is known.")
    timed = models.IntegerField(default=0, help_text="Answers whose time is known.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["annotator", "project", "day"], name="annotator_day_once")]

    def __str__(self) -> str:
        return f"{self.annotator_id} on {self.day}: {self.answers}"
