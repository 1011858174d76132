"""What people decide: tasks, slots, annotations, labels and escalations."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from labeling.case_models import Level, Outcome


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
    EXPERT = "expert", "An expert decided"
    AGENT = "agent", "A support agent resolved the case"


class LabelTask(models.Model):
    """One inquiry to be labeled by `overlap` people. How a suggestion was computed is not known here."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="tasks")
    inquiry = models.OneToOneField("feedback.Inquiry", on_delete=models.CASCADE, related_name="task")
    kind = models.CharField(max_length=10, choices=TaskKind)
    state = models.CharField(max_length=10, choices=TaskState, default=TaskState.OPEN)
    overlap = models.PositiveSmallIntegerField()
    priority = models.FloatField(default=0.0)
    # Why a person is asked, as data ({"rule": "margin", "first": "refund", …}); the desk says it in words.
    reason = models.JSONField(default=dict)
    suggestion = models.ForeignKey("feedback.Category", on_delete=models.PROTECT, null=True, related_name="+")
    propensity = models.FloatField(null=True, help_text="Probability of the audit draw.")
    category = models.ForeignKey("feedback.Category", on_delete=models.PROTECT, null=True, related_name="+")
    resolution = models.CharField(max_length=10, choices=Resolution, default="", blank=True)
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

    task = models.ForeignKey(LabelTask, on_delete=models.CASCADE, related_name="slots")
    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+")
    number = models.PositiveSmallIntegerField()
    role = models.CharField(max_length=10, choices=SlotRole, default=SlotRole.ANNOTATOR)
    state = models.CharField(max_length=8, choices=SlotState, default=SlotState.OPEN)
    priority = models.FloatField(default=0.0)
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    token = models.UUIDField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    # Prefetched: held for a short while so that the next item is there at once, and given back when nobody comes for it.
    reserved = models.BooleanField(default=False)

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
        ]
        indexes = [
            # The claim: best open slot of a project and role.
            models.Index(fields=["project", "role", "-priority", "id"], condition=Q(state="open"), name="slot_claim"),
            # Leases that ran out go back to the queue.
            models.Index(fields=["project", "lease_expires_at"], condition=Q(state="leased"), name="slot_leased"),
        ]

    def __str__(self) -> str:
        return f"slot {self.number} of task {self.task_id}"


class Annotation(models.Model):
    """One person's answer to one task. `extra` answers came on a lost lease: kept, never counted."""

    task = models.ForeignKey(LabelTask, on_delete=models.CASCADE, related_name="annotations")
    slot = models.OneToOneField(Slot, on_delete=models.CASCADE, null=True, related_name="annotation")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="annotations")
    category = models.ForeignKey("feedback.Category", on_delete=models.PROTECT, related_name="+")
    role = models.CharField(max_length=10, choices=SlotRole, default=SlotRole.ANNOTATOR)
    token = models.UUIDField(help_text="The lease it was submitted on: makes submission idempotent.")
    saw_suggestion = models.BooleanField(default=False)
    seconds = models.FloatField(null=True)
    extra = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "annotator"], name="annotation_once_per_person"),
            # Counted answers sit in a slot, and there are only `overlap` slots: the overlap cannot be exceeded.
            models.CheckConstraint(condition=Q(extra=True) | Q(slot__isnull=False), name="annotation_counted_has_slot"),
        ]
        indexes = [models.Index(fields=["annotator", "-created_at"], name="annotation_history")]

    def __str__(self) -> str:
        return f"{self.annotator_id} says {self.category_id} on {self.task_id}"


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
