"""Who did what when: written by triggers of the database, so that bulk updates and raw SQL are in it as well."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class AuditEvent(models.Model):
    """One change of one row. `changes` holds ids, numbers and words of ours, {column: [before, after]}; of a text only that it
    changed ({column: null}), so that erasing a text erases it. Rows are never changed."""

    # Neither of these is held by a constraint: the record outlives what it is about.
    project = models.ForeignKey(
        "feedback.Project",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        related_name="+",
        db_index=False,
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        related_name="+",
        db_index=False,
    )
    at = models.DateTimeField()
    kind = models.CharField(max_length=20)
    object = models.CharField(max_length=40)
    action = models.CharField(max_length=6)
    changes = models.JSONField(default=dict)
    # Besides `user`: the key, request or job that acted, as it was told to the database.
    context = models.JSONField(default=dict)
    # Who was signed in at the database: tells raw SQL from the application.
    db_user = models.CharField(max_length=64)
    db_application = models.CharField(max_length=64, default="", blank=True)

    class Meta:
        indexes = [
            # The page: newest first, also of one person or one kind of thing; keyset paging over (at, id).
            models.Index(fields=["project", "-at", "-id"], name="audit_recent"),
            models.Index(
                fields=["project", "user", "-at", "-id"], name="audit_by_person", condition=models.Q(user__isnull=False)
            ),
            models.Index(fields=["project", "kind", "object", "-at", "-id"], name="audit_by_object"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.kind} {self.object}"
