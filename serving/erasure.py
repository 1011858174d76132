"""What serving/ holds about a customer, deleted."""

from __future__ import annotations

from django.db import transaction

from feedback.erasure import inquiries_of
from serving.models import DecisionRecord, Embedding, LateAnswer, ReplyShown, ShadowAnswer


def erase(*, project_id: int, customer: str) -> dict[str, int]:
    """Delete the embeddings of a customer's texts and the record of what was decided about them."""
    with transaction.atomic():
        inquiries = list(
            inquiries_of(project_id=project_id, customer=customer).select_for_update().values_list("pk", flat=True)
        )
        embeddings = Embedding.objects.filter(inquiry_id__in=inquiries).delete()[0]
        ShadowAnswer.objects.filter(inquiry_id__in=inquiries).delete()
        LateAnswer.objects.filter(inquiry_id__in=inquiries).delete()
        decisions = DecisionRecord.objects.filter(inquiry_id__in=inquiries).delete()[0]
        shown = ReplyShown.objects.filter(inquiry_id__in=inquiries).delete()[0]
    return {"embeddings": embeddings, "decisions": decisions, "replies_shown": shown}
