"""What people decide: tasks, slots, annotations, labels and escalations."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from labeling.case_models import Level, Outcome
from labeling.quality_models import (
    AgreementTally,
    AnnotatorDay,
    Band,
    Batch,
    GoldItem,
    Guideline,
    Qualification,
    QueueTally,
)

__all__ = [
    "AgreementTally",
    "Annotation",
    "AnnotatorDay",
    "Band",
    "Batch",
    "Escalation",
    "EscalationState",
    "Flag",
    "GoldItem",
    "Guideline",
    "Label",
    "LabelSource",
    "LabelTask",
    "Qualification",
    "QueueTally",
    "Resolution",
    "Skip",
    "SkipReason",
    "Slot",
    "SlotRole",
    "SlotState",
    "TaskKind",
    "TaskState",
]

from labeling.comparison_models import Comparison as Comparison
from labeling.comparison_models import ComparisonAnswer as ComparisonAnswer
from labeling.comparison_models import ComparisonSlot as ComparisonSlot
from labeling.draft_models import Draft as Draft
from labeling.draft_models import DraftState as DraftState
from labeling.exchange.models import ExchangeChunk as ExchangeChunk
from labeling.exchange.models import ExchangeFile as ExchangeFile
from labeling.exchange.models import ImportFault as ImportFault


class TaskKind(models.TextChoices):
    SELECTION = "selection", "Chosen because its label teaches most"
    AUDIT = "audit", "Drawn at random to measure accuracy"
    IMPORTED = "imported", "Imported for labeling"


class TaskState(models.TextChoices):
    OPEN = "open", "Open"
    DISPUTED = "disputed", "Waiting for an expert"
    RESOLVED = "resolved", "Resolved"
    RETIRED = "retired", "Retired"


class Resolution(models.TextChoices):
    SINGLE = "single", "One annotation was asked for"
    AGREED = "agreed", "Annotators agreed"
    CONSENSUS = "consensus", "The answers, weighted by how often each annotator is right"
    EXPERT = "expert", "An expert decided"
    NONE = "none", "An expert found that no category fits"
    AGENT = "agent", "A support agent resolved the case"


class LabelTask(models.Model):
    """One inquiry to be labeled by `overlap` people. How a suggestion was computed is not known here."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="tasks")
    inquiry = models.OneToOneField("feedback.Inquiry", on_delete=models.CASCADE, related_name="task")
    kind = models.CharField(max_length=10, choices=TaskKind)
    state = models.CharField(max_length=10, choices=TaskState, default=TaskState.OPEN)
    overlap = models.PositiveSmallIntegerField()
    # What the task is worth (selection); a slot's priority adds risk and waiting time (labeling/ranking.py).
    priority = models.FloatField(default=0.0)
    risk = models.FloatField(default=0.0)
    # The batch whose agreement decides what an expert reviews; none for tasks that one person answers.
    batch = models.ForeignKey("labeling.Batch", on_delete=models.SET_NULL, null=True, related_name="tasks")
    # Why a person is asked, as data ({"rule": "margin", "first": "refund", …}); the desk says it in words.
    reason = models.JSONField(default=dict)
    suggestion = models.ForeignKey("feedback.Category", on_delete=models.PROTECT, null=True, related_name="+")
    propensity = models.FloatField(null=True, help_text="Probability of the audit draw.")
    category = models.ForeignKey("feedback.Category", on_delete=models.PROTECT, null=True, related_name="+")
    resolution = models.CharField(max_length=10, choices=Resolution, default="", blank=True)
    # Waiting time counts from here: an import may bring tasks that have already waited.
    created_at = models.DateTimeField(auto_now_add=True)
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(overlap__gte=1, overlap__lte=10), name="task_overlap_1_to_10"),
            models.CheckConstraint(
                condition=~Q(state="resolved") | Q(category__isnull=False, resolved_at__isnull=False),
                name="task_resolved_has_category",
            ),
            # An audit answer counts only with the probability it was drawn with.
            models.CheckConstraint(
                condition=~Q(kind="audit") | Q(propensity__gt=0, propensity__lte=1), name="task_audit_has_propensity"
            ),
            models.CheckConstraint(condition=~Q(kind="audit") | Q(suggestion__isnull=True), name="task_audit_is_blind"),
            # A slot refers to (task, overlap), so that its number can be held to the overlap by the database.
            models.UniqueConstraint(fields=["id", "overlap"], name="task_with_overlap"),
        ]
        indexes = [
            # Open work of a project, best first (selection re-scores it, the status page counts it).
            models.Index(fields=["project", "-priority", "id"], condition=Q(state="open"), name="task_open"),
            models.Index(fields=["project", "-resolved_at"], condition=Q(state="resolved"), name="task_resolved"),
        ]

    def __str__(self) -> str:
        return f"task {self.pk} {self.state}"


class SlotRole(models.TextChoices):
    ANNOTATOR = "annotator", "Annotator"
    EXPERT = "expert", "Expert"


class SlotState(models.TextChoices):
    OPEN = "open", "Open"
    LEASED = "leased", "Leased"
    DONE = "done", "Done"


class Slot(models.Model):
    """Room for one annotation of one task. Two people can never hold the same slot; one person never two of a task."""

    # Every change of a slot writes all of its indexes: those of the foreign keys alone are left out. The unique constraints
    # serve the task; the claim's own index serves the project, and a plan by project alone would read the whole queue.
    task = models.ForeignKey(LabelTask, on_delete=models.CASCADE, related_name="slots", db_index=False)
    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+", db_index=False)
    number = models.PositiveSmallIntegerField()
    role = models.CharField(max_length=10, choices=SlotRole, default=SlotRole.ANNOTATOR)
    state = models.CharField(max_length=8, choices=SlotState, default=SlotState.OPEN)
    priority = models.FloatField(default=0.0)
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    token = models.UUIDField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    # Prefetched: held for a short while so that the next item is there at once, and given back when nobody comes for it.
    reserved = models.BooleanField(default=False)
    # A known item between the others: its answer measures the annotator and never counts towards the task.
    gold = models.BooleanField(default=False)
    # A copy of the task's (a foreign key of both columns holds it): see `slot_within_overlap`.
    overlap = models.PositiveSmallIntegerField(default=1)

    # The lane: which people may not or need not look here. The claim reads the best slot of each lane that is open to a
    # person, so that what they have answered costs them nothing (docs/decisions/0030).
    language = models.CharField(max_length=8, default="", blank=True, help_text="'' is for everybody.")
    skill = models.BigIntegerField(default=0, help_text="Category that needs qualified people; 0 is for everybody.")
    barred = ArrayField(
        models.BigIntegerField(), default=list, blank=True, help_text="Who has answered or skipped the task, by id."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="slot_number_once"),
            models.UniqueConstraint(fields=["task", "annotator"], name="slot_annotator_once_per_task"),
            models.CheckConstraint(
                condition=Q(state="open", annotator=None, token=None, lease_expires_at=None, reserved=False)
                | Q(state="leased", annotator__isnull=False, token__isnull=False, lease_expires_at__isnull=False)
                | Q(state="done", annotator__isnull=False, token__isnull=False, reserved=False),
                name="slot_state_matches_lease",
            ),
            # In each project and role a person works on one item and has at most one more waiting.
            models.UniqueConstraint(
                fields=["annotator", "project", "role", "reserved"],
                condition=Q(state="leased"),
                name="slot_one_in_hand",
            ),
            # With the unique number: never more annotators' answers than the overlap.
            models.CheckConstraint(
                condition=Q(role="expert") | Q(gold=True) | Q(number__lte=F("overlap")), name="slot_within_overlap"
            ),
            models.CheckConstraint(condition=Q(gold=False) | ~Q(state="open"), name="slot_gold_is_never_open"),
            # An answer refers to all four: it is the holder's, on this slot, in its role.
            models.UniqueConstraint(fields=["id", "task", "annotator", "role"], name="slot_with_holder"),
        ]
        indexes = [
            # The claim: the lanes of a project and role, and the best open slot of each.
            models.Index(
                fields=["project", "role", "language", "skill", "barred", "-priority", "id"],
                condition=Q(state="open"),
                name="slot_lane",
            ),
            # Leases that ran out go back to the queue.
            models.Index(fields=["project", "lease_expires_at"], condition=Q(state="leased"), name="slot_leased"),
        ]

    def __str__(self) -> str:
        return f"slot {self.number} of task {self.task_id}"


class Annotation(models.Model):
    """One person's answer to one task. `extra` answers came on a lost lease, or before the guideline was amended: kept,
    never counted. An expert's answer without a category says that none fits."""

    task = models.ForeignKey(LabelTask, on_delete=models.CASCADE, related_name="annotations")
    slot = models.OneToOneField(Slot, on_delete=models.CASCADE, null=True, related_name="annotation")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="annotations")
    category = models.ForeignKey("feedback.Category", on_delete=models.PROTECT, null=True, related_name="+")
    role = models.CharField(max_length=10, choices=SlotRole, default=SlotRole.ANNOTATOR)
    token = models.UUIDField(help_text="The lease it was submitted on: makes submission idempotent.")
    saw_suggestion = models.BooleanField(default=False)
    seconds = models.FloatField(null=True)
    extra = models.BooleanField(default=False)
    # Given to a gold item; never counted, and whether it was right.
    gold = models.BooleanField(default=False)
    right = models.BooleanField(null=True)
    # Given before an expert amended the guideline and returned the task: its author may answer again.
    superseded = models.BooleanField(default=False)
    guideline = models.ForeignKey("labeling.Guideline", on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["task", "annotator"], condition=Q(superseded=False), name="annotation_once_per_person"
            ),
            models.CheckConstraint(
                condition=Q(superseded=False) | Q(extra=True), name="annotation_superseded_is_extra"
            ),
            models.CheckConstraint(
                condition=Q(category__isnull=False) | Q(role="expert"), name="annotation_none_is_experts"
            ),
            models.CheckConstraint(condition=Q(gold=False) | Q(right__isnull=False), name="annotation_gold_is_judged"),
            # Counted answers sit in a slot, and there are only `overlap` slots: the overlap cannot be exceeded.
            models.CheckConstraint(condition=Q(extra=True) | Q(slot__isnull=False), name="annotation_counted_has_slot"),
        ]
        indexes = [
            models.Index(fields=["annotator", "-created_at"], name="annotation_history"),
            # How often each annotator is right on known items.
            models.Index(fields=["annotator", "-created_at"], condition=Q(gold=True), name="annotation_gold"),
        ]

    def __str__(self) -> str:
        return f"{self.annotator_id} says {self.category_id} on {self.task_id}"

    @property
    def counts(self) -> bool:
        """Whether it counts towards its task, the agreement and the consensus."""
        return not (self.extra or self.gold)


class SkipReason(models.TextChoices):
    NONE = "", "No reason given"
    UNCLEAR = "unclear", "I cannot tell what is asked"
    SEVERAL = "several", "Several categories fit"
    MISSING = "missing", "No category fits"
    LANGUAGE = "language", "I do not read this language"
    ESCALATED = "escalated", "Escalated to an agent"


class Skip(models.Model):
    """A person passed on a task: it is not handed to them again."""

    task = models.ForeignKey(LabelTask, on_delete=models.CASCADE, related_name="skips")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    reason = models.CharField(max_length=10, choices=SkipReason, default=SkipReason.NONE, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "annotator"], name="skip_once_per_person")]
        indexes = [models.Index(fields=["annotator", "-created_at"], name="skip_history")]

    def __str__(self) -> str:
        return f"{self.annotator_id} skipped {self.task_id}"


class Flag(models.Model):
    """A person asks the lead to look at a task. Flagging changes nothing in the queue."""

    task = models.ForeignKey(LabelTask, on_delete=models.CASCADE, related_name="flags")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "annotator"], name="flag_once_per_person")]

    def __str__(self) -> str:
        return f"{self.annotator_id} flagged {self.task_id}"


class LabelSource(models.TextChoices):
    SINGLE = "single", "One annotator"
    AGREED = "agreed", "Annotators agreed"
    CONSENSUS = "consensus", "Weighted consensus of the annotators"
    EXPERT = "expert", "An expert decided"
    AGENT = "agent", "A support agent resolved it"
    IMPORTED = "imported", "Imported"


class Label(models.Model):
    """The settled category of an inquiry: what training reads. Withdrawn labels stay as rows without a category."""

    inquiry = models.OneToOneField("feedback.Inquiry", on_delete=models.CASCADE, related_name="label")
    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="labels")
    category = models.ForeignKey("feedback.Category", on_delete=models.PROTECT, null=True, related_name="+")
    source = models.CharField(max_length=10, choices=LabelSource)
    saw_suggestion = models.BooleanField(default=False)
    revision = models.PositiveIntegerField(default=1)
    settled_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["project", "settled_at"], name="label_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.inquiry_id} is {self.category_id}"


class EscalationState(models.TextChoices):
    OPEN = "open", "Open"
    RESOLVED = "resolved", "Resolved"


class Escalation(models.Model):
    """A customer waits for a person: risky, angry, or asked for by an app."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="escalations")
    inquiry = models.ForeignKey("feedback.Inquiry", on_delete=models.CASCADE, related_name="escalations")
    reasons = models.JSONField(default=list)
    priority = models.FloatField(default=0.0)
    state = models.CharField(max_length=10, choices=EscalationState, default=EscalationState.OPEN)
    assignee = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    category = models.ForeignKey("feedback.Category", on_delete=models.PROTECT, null=True, related_name="+")
    reply_text = models.TextField(default="", blank=True)
    outcome = models.CharField(max_length=10, choices=Outcome, default="", blank=True)
    opened_at = models.DateTimeField(default=timezone.now)
    resolved_at = models.DateTimeField(null=True)

    # What its priority rests on (labeling/escalation.py): points are `priority`, cases are served in the order of `standing`.
    level = models.CharField(max_length=8, choices=Level, default=Level.LOW)
    high_risk = models.BooleanField(default=False)
    standing = models.DateTimeField(default=timezone.now)
    # Raised with every change: whoever acts names the version that they saw.
    version = models.PositiveIntegerField(default=1)
    snoozed_until = models.DateTimeField(null=True)
    first_due_at = models.DateTimeField(null=True)
    resolve_due_at = models.DateTimeField(null=True)
    # The earlier of the two that still count.
    next_due_at = models.DateTimeField(null=True)
    first_response_at = models.DateTimeField(null=True)
    first_breached_at = models.DateTimeField(null=True)
    resolve_breached_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["inquiry"], condition=Q(state="open"), name="escalation_one_open"),
            models.CheckConstraint(
                condition=Q(state="open") | Q(resolved_at__isnull=False), name="escalation_resolved_at"
            ),
        ]
        indexes = [
            # The list of a project, most urgent first.
            models.Index(fields=["project", "standing", "id"], condition=Q(state="open"), name="escalation_open"),
            # Clocks that run out, in all projects (the alert) and in one (the view "Breaching").
            models.Index(fields=["next_due_at"], condition=Q(state="open"), name="escalation_due"),
            models.Index(fields=["project", "-resolved_at"], condition=Q(state="resolved"), name="escalation_done"),
        ]

    def __str__(self) -> str:
        return f"escalation {self.pk} {self.state}"
