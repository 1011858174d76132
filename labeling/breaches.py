"""Targets that were missed: found by beat, announced once each, told by webhook (the event) and by e-mail.

A breach is one UPDATE that sets its moment where it was not set: however many workers look, one announces it. The mail is
written by a consumer of the event; a worker that dies between sending and committing sends it once more.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from celery import shared_task
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone

from feedback import outbox
from feedback.models import OutboxEvent
from labeling import case_events
from labeling.case_models import CaseEntry, EntryKind
from labeling.escalations import service_level
from labeling.models import Escalation, EscalationState

# Clock → the fields of its moment, of what stops it, and of its breach.
CLOCKS = {
    "first_response": ("first_due_at", "first_response_at", "first_breached_at"),
    "resolution": ("resolve_due_at", "resolved_at", "resolve_breached_at"),
}
WORDS = {"first_response": "first response", "resolution": "resolution"}


@shared_task(name="labeling.alert_breaches")
def alert_breaches() -> int:
    """Announce the targets that have been missed since the last look; returns how many."""
    now = timezone.now()
    return sum(_announce(pk, clock, now) for clock in CLOCKS for pk in _missed(clock, now))


def _missed(clock: str, now: datetime) -> list[int]:
    moment, stopped, breached = CLOCKS[clock]
    # `next_due_at` is the earlier of the two, so its partial index holds both.
    late = Escalation.objects.filter(state=EscalationState.OPEN, next_due_at__lte=now)
    return list(late.filter(**{f"{moment}__lte": now, stopped: None, breached: None}).values_list("pk", flat=True))


def _announce(case_id: int, clock: str, now: datetime) -> bool:
    moment, stopped, breached = CLOCKS[clock]
    with transaction.atomic():
        unset = Escalation.objects.filter(pk=case_id, state=EscalationState.OPEN, **{stopped: None, breached: None})
        if not unset.update(**{breached: now}):
            return False
        case = Escalation.objects.get(pk=case_id)
        due_at = getattr(case, moment)
        CaseEntry.objects.create(
            case=case, kind=EntryKind.BREACHED, data={"clock": clock, "due_at": due_at.isoformat()}
        )
        event = case_events.Breached(case.pk, str(case.inquiry_id), clock, due_at.isoformat(), case.level)
        event.publish(project_id=case.project_id)
    return True


@outbox.consumer("escalation.breached", name="labeling.breach_mail")
def write_mail(event: OutboxEvent) -> None:
    """Tell those whom the project names, and the case's owner. The mail holds no word of the customer."""
    case = Escalation.objects.filter(pk=event.payload["escalation"]).select_related("project", "assignee").first()
    if case is None:  # erased meanwhile
        return
    to = [*service_level(case.project_id).alert_emails, *([case.assignee.email] if case.assignee else [])]
    if not (recipients := sorted(set(filter(None, to)))):
        return
    clock, link = WORDS[event.payload["clock"]], f"{settings.ENSO_URL}/p/{case.project.slug}/cases/{case.pk}"
    body = (
        f"Case {case.pk} of {case.project.name} missed its target for the {clock}.\n"
        f"Priority {case.level}, due {event.payload['due_at']}, "
        f"{f'owned by {case.assignee}' if case.assignee else 'nobody has it yet'}.\n\n{link}\n"
    )
    EmailMessage(
        f"[{case.project.name}] Case {case.pk}: {clock} overdue", body, to=recipients,
        headers={"Message-ID": f"<enso-event-{event.pk}@{urlsplit(settings.ENSO_URL).hostname}>"},
    ).send()  # fmt: skip
