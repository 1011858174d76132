"""What was taken out of customers' texts, encrypted, and who has looked at it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q


class Original(models.Model):
    """The personal data of one text, under the keys of the vault. Never a card number or an IBAN, of which only four characters exist."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="+")
    inquiry = models.OneToOneField("feedback.Inquiry", on_delete=models.CASCADE, null=True, related_name="original")
    # A comment's event, by its id alone: events are written in bulk, and erased with their originals by feedback/erasure.py.
    event = models.UUIDField(null=True, unique=True)
    sealed = models.BinaryField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(inquiry=None, event__isnull=False) | Q(inquiry__isnull=False, event=None),
                name="original_of_one_text",
            )
        ]

    def __str__(self) -> str:
        return f"original of {self.inquiry_id or self.event}"


class Reveal(models.Model):
    """A person has seen the personal data of an inquiry: who, when and why. Never changed, and kept when the inquiry is erased."""

    project = models.ForeignKey("feedback.Project", on_delete=models.CASCADE, related_name="reveals")
    inquiry_ref = models.UUIDField()
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="reveals")
    reason = models.CharField(max_length=500)
    shown_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=~Q(reason=""), name="reveal_has_reason")]
        # The record of one project, newest first, and of one inquiry.
        indexes = [
            models.Index(fields=["project", "-shown_at"], name="reveal_recent"),
            models.Index(fields=["inquiry_ref"], name="reveal_by_inquiry"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} saw {self.inquiry_ref}"
