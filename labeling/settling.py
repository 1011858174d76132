"""The settled category of an inquiry: written, revised and withdrawn in one place, and announced."""

from __future__ import annotations

from django.utils import timezone

from feedback import outbox
from feedback import services as feedback_services
from feedback.models import Inquiry
from labeling import hot
from labeling.models import Label, LabelSource

_SETTLE = """
INSERT INTO labeling_label (inquiry_id, project_id, category_id, source, saw_suggestion, revision, settled_at)
VALUES (%(inquiry)s, %(project)s, %(category)s, %(source)s, %(saw)s, 1, %(now)s)
ON CONFLICT (inquiry_id) DO UPDATE SET category_id = excluded.category_id, source = excluded.source,
    saw_suggestion = excluded.saw_suggestion, revision = labeling_label.revision + 1, settled_at = excluded.settled_at
RETURNING id, revision, settled_at
"""


def settle_label(*, inquiry: Inquiry, category_id: int, source: LabelSource, saw_suggestion: bool = False) -> Label:
    """Write (or revise) the settled category of an inquiry, and announce it. The caller holds the transaction."""
    found = hot.row(
        _SETTLE,
        {
            "inquiry": inquiry.pk, "project": inquiry.project_id, "category": category_id, "source": str(source),
            "saw": saw_suggestion, "now": timezone.now(),
        },
    )  # fmt: skip
    assert found is not None
    label = Label(
        pk=found[0], inquiry=inquiry, project_id=inquiry.project_id, category_id=category_id, source=source,
        saw_suggestion=saw_suggestion, revision=found[1], settled_at=found[2],
    )  # fmt: skip
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
