"""What feedback/ holds about a customer, deleted. Each app has such a module; whoever erases calls the rightmost first.

`learning`, `serving` and `labeling` take back what they made of the texts (a label is withdrawn and announced, so that
heads forget it), then `feedback` deletes the texts themselves. Running any of them again finds nothing and changes nothing.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet

from feedback import ingest, score_fold
from feedback.models import Event, Inquiry, Original
from feedback.services import rescore


def inquiries_of(*, project_id: int, customer: str) -> QuerySet[Inquiry]:
    """The inquiries of one customer; ValueError without a customer, for that would be everybody who gave no name."""
    if not customer:
        raise ValueError("name the customer: without one, all anonymous inquiries would be meant")
    return Inquiry.objects.filter(project_id=project_id, customer=customer)


def erase(*, project_id: int, customer: str) -> dict[str, int]:
    """Delete a customer's inquiries, events and sealed originals, and take what they said out of every score and sum."""
    with transaction.atomic():
        # Before any inquiry is locked, in the order of a fold that runs beside this.
        score_fold.take_turn(project_id)
        # Concurrent erasures and joins of late events line up on the inquiries.
        mine = list(
            inquiries_of(project_id=project_id, customer=customer).select_for_update().values_list("pk", flat=True)
        )
        events = Event.objects.filter(project_id=project_id, customer=customer) | Event.objects.filter(
            inquiry_id__in=mine
        )
        rows = list(events.values_list("pk", "inquiry_id"))
        ids = [pk for pk, _ in rows]
        touched = {inquiry for _, inquiry in rows if inquiry is not None} | set(mine)
        originals = (
            Original.objects.filter(event__in=ids).delete()[0]
            + Original.objects.filter(inquiry_id__in=mine).delete()[0]
        )
        Event.objects.filter(pk__in=ids).delete()
        # The sums forget the inquiries while these are still there to say where they were counted.
        rescore(inquiry_ids=touched)
        while score_fold.fold_project(project_id):
            pass
        Inquiry.objects.filter(pk__in=mine).delete()
    # Events that were being stored meanwhile, and saw the inquiries.
    ingest.sweep_orphans()
    return {"inquiries": len(mine), "events": len(ids), "originals": originals}
