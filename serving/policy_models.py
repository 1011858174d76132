"""What chooses replies: versions of a project's reply policy, and what was shown to whom with which probability."""

from __future__ import annotations

from typing import cast

from django.db import models
from django.db.models import Q
from django.utils import timezone

from serving.rollout import Course, State


class PolicyStage(models.TextChoices):
    STAGING = "staging", "Staging"
    PRODUCTION = "production", "Production"
    ARCHIVED = "archived", "Archived"
    REJECTED = "rejected", "Rejected by a gate"


class PolicyVersion(models.Model):
    """One reply policy's bundle under its manifest hash. At most one chooses per project and encoder variant."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="policies")
    number = models.PositiveIntegerField()
    encoder_sha = models.CharField(max_length=64)
    manifest_sha = models.CharField(max_length=64)
    kind = models.CharField(max_length=40)
    stage = models.CharField(max_length=10, choices=PolicyStage, default=PolicyStage.STAGING)
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="children")
    replies = models.PositiveIntegerField(help_text="How many replies it knows.")
    temperature = models.FloatField(default=1.0)
    exploration = models.FloatField(help_text="ε: the share of answers drawn evenly from the candidates.")
    metrics = models.JSONField(default=dict)
    gates = models.JSONField(default=list)
    screening = models.JSONField(default=dict, help_text="What was taken from the votes, by group, and why.")
    lineage = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    promoted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="policy_number_once"),
            models.UniqueConstraint(
                fields=["project", "encoder_sha"], condition=Q(stage="production"), name="policy_one_in_production"
            ),
            models.CheckConstraint(
                condition=Q(exploration__gte=0, exploration__lte=1), name="policy_exploration_is_share"
            ),
        ]

    def __str__(self) -> str:
        return f"policy of {self.project} p{self.number}"


class ReplyShown(models.Model):
    """A reply that a policy chose, with its probability and those of all candidates; never changed afterwards.

    Without a reply it chose that a person answers; among the candidates the person has the id 0.
    """

    inquiry = models.OneToOneField("feedback.Inquiry", on_delete=models.CASCADE, primary_key=True, related_name="shown")
    policy = models.ForeignKey(PolicyVersion, on_delete=models.CASCADE, related_name="shown", db_index=False)
    reply = models.ForeignKey("feedback.Reply", on_delete=models.PROTECT, null=True, related_name="shown")
    propensity = models.FloatField()
    candidates = models.JSONField(help_text="Probability of each candidate, by the reply's id.")
    shown_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "replies shown"
        constraints = [
            models.CheckConstraint(condition=Q(propensity__gt=0, propensity__lte=1), name="shown_propensity_is_share"),
        ]
        indexes = [
            # The newest showings of a policy are what the next one learns from.
            models.Index(fields=["policy", "-shown_at"], name="shown_recent"),
        ]

    def __str__(self) -> str:
        return f"reply {self.reply_id or 'of a person'} at {self.propensity:.3f}"


class PolicyTrial(models.Model):
    """A reply policy that a share of the customers gets, beside the one that chooses for the others."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="policy_trials")
    encoder_sha = models.CharField(max_length=64)
    candidate = models.ForeignKey(PolicyVersion, on_delete=models.CASCADE, related_name="trials")
    control = models.ForeignKey(PolicyVersion, on_delete=models.CASCADE, related_name="+")
    plan = models.JSONField(help_text="Percent of customers, step by step; the last is everybody.")
    step = models.PositiveSmallIntegerField(default=0)
    state = models.CharField(max_length=12, default="running")
    salt = models.CharField(max_length=32)
    evidence = models.JSONField(default=dict, help_text="What the tests remember of the looks so far, by metric.")
    customers = models.PositiveIntegerField(default=0, help_text="Of the smaller arm, in this step.")
    looks = models.PositiveIntegerField(default=0, help_text="In this step.")
    looked_until = models.DateTimeField(null=True)
    reason = models.JSONField(default=dict, help_text="What the last look found.")
    history = models.JSONField(default=list)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "encoder_sha"], condition=Q(state="running"), name="policy_trial_one_at_a_time"
            ),
        ]

    def __str__(self) -> str:
        return f"trial of p{self.candidate.number}: {self.state} at {self.course.percent} %"

    @property
    def course(self) -> Course:
        return Course(tuple(self.plan), self.step, cast(State, self.state))
