"""What challengers keep from one training to the next, and the searches for their options."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from feedback.models import JobState


class Challenger(models.TextChoices):
    """Methods that may be trained beside the closed form (learning/challengers.py)."""

    NONE = "none", "None"
    EWC_REPLAY = "ewc_replay", "EWC + replay"
    DERPP = "derpp", "DER++"
    LWF = "lwf", "Learning without forgetting"


class ContinualState(models.Model):
    """What a challenger was when its run ended: weights, Fisher, buffer of references, as one file under its hash.

    The next training of the method goes on from it. After an erasure it is `barred`: a network that has learned somebody's
    labels is begun anew without them, and the file is deleted.
    """

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="continual_states")
    encoder_sha = models.CharField(max_length=64)
    method = models.CharField(max_length=12, choices=Challenger)
    run = models.OneToOneField("learning.TrainingRun", on_delete=models.CASCADE, related_name="continual_state")
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="children")
    sha256 = models.CharField(max_length=64)
    experiences = models.PositiveIntegerField(help_text="Trainings since the network was begun.")
    items = models.PositiveIntegerField(help_text="References in the replay buffer.")
    barred = models.CharField(max_length=200, default="", blank=True, help_text="Why no training goes on from it.")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.method} {self.sha256[:8]}"


class SearchState(models.TextChoices):
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"


class Search(models.Model):
    """A search for a challenger's options: trials in generations of `width`, proposed from all that were told before."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="searches")
    encoder_sha = models.CharField(max_length=64)
    method = models.CharField(max_length=12, choices=Challenger)
    # The labels at λ = 0 and at λ = 1: a weight is linear in λ, so that these two give it for any other.
    snapshot = models.ForeignKey("learning.Snapshot", on_delete=models.PROTECT, related_name="+")
    judged = models.ForeignKey("learning.Snapshot", on_delete=models.PROTECT, related_name="+")
    seed = models.PositiveIntegerField(default=0)
    wanted = models.PositiveIntegerField(help_text="Trials.")
    width = models.PositiveIntegerField(help_text="Trials that run at the same time.")
    state = models.CharField(max_length=10, choices=SearchState, default=SearchState.RUNNING)
    why = models.CharField(max_length=500, default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(wanted__gte=1, width__gte=1), name="search_has_trials"),
            models.UniqueConstraint(
                fields=["project"], condition=Q(state="running"), name="search_one_at_a_time_per_project"
            ),
        ]

    def __str__(self) -> str:
        return f"search {self.pk} {self.method} {self.state}"

    def best(self) -> Trial | None:
        """The trial with the least loss; of equal ones the first."""
        return self.trials.filter(state=TrialState.DONE).order_by("loss", "number").first()

    @classmethod
    def lost(cls) -> models.QuerySet[Search]:
        """Searches that wait for a trial whose job has died or was cancelled."""
        return cls.objects.filter(state=SearchState.RUNNING, trials__in=Trial.lost())


class TrialState(models.TextChoices):
    WAITING = "waiting", "Waiting or running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class Trial(models.Model):
    """Options that are tried, and the validation loss that they gave. Told once, whoever ran it and how often."""

    search = models.ForeignKey(Search, on_delete=models.CASCADE, related_name="trials")
    number = models.PositiveIntegerField()
    options = models.JSONField()
    state = models.CharField(max_length=10, choices=TrialState, default=TrialState.WAITING)
    job = models.ForeignKey("feedback.Job", on_delete=models.SET_NULL, null=True, related_name="+")
    loss = models.FloatField(null=True)
    accuracy = models.FloatField(null=True)
    why = models.CharField(max_length=500, default="", blank=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["search", "number"], name="trial_number_once"),
            models.CheckConstraint(condition=Q(state="done", loss__isnull=False) | ~Q(state="done"), name="trial_done_has_loss"),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"trial {self.number} of search {self.search_id}"

    @classmethod
    def lost(cls) -> models.QuerySet[Trial]:
        """Trials that nobody will run any more, of searches that wait for them."""
        over = Q(job__state__in=[JobState.DEAD, JobState.CANCELLED]) | Q(job=None)
        return cls.objects.filter(over, state=TrialState.WAITING, search__state=SearchState.RUNNING)
