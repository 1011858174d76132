"""Language models that write drafts for agents: their versions, and the templates that their prompts are made from."""

from __future__ import annotations

import hashlib

import msgspec
from django.conf import settings
from django.db import models
from django.db.models import Q


class LanguageStage(models.TextChoices):
    STAGING = "staging", "Staging"
    PRODUCTION = "production", "Production"
    ARCHIVED = "archived", "Archived"
    REJECTED = "rejected", "Rejected by a gate"


class LanguageVersion(models.Model):
    """One tuned model's bundle under its manifest hash: graph, adapter, tokenizer, templates. At most one writes per project."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="language_models")
    number = models.PositiveIntegerField()
    # Versions of a line share this; here always empty, since a project has one line, whatever the base model is.
    encoder_sha = models.CharField(max_length=64, default="", blank=True)
    manifest_sha = models.CharField(max_length=64)
    kind = models.CharField(max_length=40)
    base_sha = models.CharField(max_length=64, help_text="The model that was tuned: configuration, tokenizer, weights.")
    stage = models.CharField(max_length=10, choices=LanguageStage, default=LanguageStage.STAGING)
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="children")
    metrics = models.JSONField(default=dict)
    gates = models.JSONField(default=list)
    lineage = models.JSONField(default=dict)
    barred = models.CharField(max_length=200, default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    promoted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="language_number_once"),
            models.UniqueConstraint(
                fields=["project"], condition=Q(stage="production"), name="language_one_in_production"
            ),
        ]

    def __str__(self) -> str:
        return f"language model of {self.project} d{self.number}"


class PromptTemplate(models.Model):
    """One version of a prompt with its examples, for a category (none: for all) and a locale ("": for all); never changed."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="prompt_templates")
    category = models.ForeignKey("feedback.Category", on_delete=models.CASCADE, null=True, related_name="+")
    locale = models.CharField(max_length=35, default="", blank=True)
    number = models.PositiveIntegerField()
    text = models.TextField()
    examples = models.JSONField(default=list, blank=True, help_text='[{"inquiry": …, "reply": …}], for {examples}.')
    # The one that the next tuning takes; earlier numbers may be taken back.
    active = models.BooleanField(default=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "category", "locale", "number"], nulls_distinct=False, name="prompt_number_once"
            ),
            models.UniqueConstraint(
                fields=["project", "category", "locale"], condition=Q(active=True), nulls_distinct=False, name="prompt_one_active"
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"prompt {self.number} for {self.category_id or 'all'} {self.locale or 'all'}"

    @property
    def sha256(self) -> str:
        """Of what is said, not of where it stands."""
        return hashlib.sha256(msgspec.json.encode([self.text, self.examples], order="sorted")).hexdigest()
