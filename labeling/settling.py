"""The settled category of an inquiry: written, revised and withdrawn in one place, and announced."""

from __future__ import annotations

from django.utils import timezone

from feedback import outbox
from feedback import services as feedback_services
from feedback.models import Inquiry
from labeling.models import Label, LabelSource


def settle_label(*, inquiry: Inquiry, category_id: int, source: LabelSource, saw_suggestion: bool = False) -> Label:
    """Write (or revise) the settled category of an inquiry, and announce it. The caller holds the transaction."""
    label = Label.objects.select_for_update().filter(inquiry=inquiry).first()
    if label is None:
        label = Label(inquiry=inquiry, project_id=inquiry.project_id, revision=0)
    label.category_id, label.source, label.saw_suggestion = category_id, source, saw_suggestion
    label.revision += 1
    label.settled_at = timezone.now()
    label.save()
    feedback_services.settle_inquiry(inquiry_id=inquiry.pk, category_id=category_id)
    outbox.publish(
        kind="label.resolved",
        project_id=inquiry.project_id,
        payload={"inquiry": str(inquiry.pk), "revision": label.revision},
    )
    return label


def withdraw_label(*, inquiry: Inquiry) -> None:
    """A settled category is no longer one. The row stays, without a category. The caller holds the transaction."""
    label = Label.objects.select_for_update().filter(inquiry=inquiry).first()
    if label is None or label.category_id is None:
        return
    label.category, label.revision, label.settled_at = None, label.revision + 1, timezone.now()
    label.save()
    outbox.publish(
        kind="label.withdrawn",
        project_id=inquiry.project_id,
        payload={"inquiry": str(inquiry.pk), "revision": label.revision},
    )
