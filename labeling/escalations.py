"""Use cases of a case until it is resolved: open, assign, snooze, set the priority, note, and see who is looking.

Whoever acts names the version of the case that they saw. The change is one UPDATE with that version in its filter: of two
agents on one case the second gets 409 and the reason, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from feedback import privacy
from feedback.models import Inquiry, Membership, User
from feedback.problems import Problem, invalid, not_found
from feedback.texts import fault_in
from feedback.visits import AGENTS
from labeling import case_events
from labeling.case_models import CaseEntry, CaseViewer, EntryKind, Level, ServiceLevel
from labeling.escalation import LEVEL_POINTS, Facts, due, level_of, points, standing, value_of
from labeling.models import Escalation, EscalationState

MAX_SNOOZE = timedelta(days=90)
# A page that was not heard of for this long is no longer in front of anybody.
VIEWING = timedelta(seconds=30)
_ASKED = frozenset({"app", "annotator"})


def open_escalation(
    *,
    inquiry: Inquiry,
    reasons: list[dict[str, Any]],
    sentiment: float | None = None,
    priority: float = 0.0,
    case_id: int | None = None,
) -> Escalation:
    """A customer waits for a person. One open case per inquiry: a second call adds its reasons to the first.

    `priority` is the least number of points, for callers that know more than risk, sentiment and value tell. `case_id` is
    the id of a new case, for callers that drew it ahead (labeling/opening.py).
    """
    with transaction.atomic():
        known = Escalation.objects.select_for_update().filter(inquiry=inquiry, state=EscalationState.OPEN).first()
        if known is not None:
            return _add_reasons(known, reasons)
        service, now = service_level(inquiry.project_id), timezone.now()
        facts = _facts(inquiry, reasons, sentiment, service)
        given = max(points(facts), priority)
        level = level_of(given)
        case, made = Escalation.objects.get_or_create(
            inquiry=inquiry, state=EscalationState.OPEN,
            defaults={
                "project_id": inquiry.project_id, "reasons": reasons, "priority": given, "level": level, "opened_at": now,
                "high_risk": facts.high_risk, "standing": standing(given, now), **_clocks(service, level, now, None),
                **({} if case_id is None else {"id": case_id}),
            },
        )  # fmt: skip
        if made:
            codes = [str(r.get("code", "")) for r in reasons]
            case_events.Opened(case.pk, str(inquiry.pk), level, codes).publish(project_id=inquiry.project_id)
    return case


def _facts(inquiry: Inquiry, reasons: list[dict[str, Any]], sentiment: float | None, service: ServiceLevel) -> Facts:
    codes = {r.get("code") for r in reasons}
    if sentiment is None:
        # Somebody found the customer angry without measuring it: the weakest anger that is routed to a person.
        sentiment = -0.5 if "angry" in codes else 0.0
    value = value_of(inquiry.metadata, service.value_key, service.value_tiers)
    return Facts("high_risk" in codes, sentiment, value, bool(codes & _ASKED))


def _add_reasons(case: Escalation, reasons: list[dict[str, Any]]) -> Escalation:
    new = [r for r in reasons if r not in case.reasons]
    if new:
        case.reasons = [*case.reasons, *new]
        Escalation.objects.filter(pk=case.pk).update(reasons=case.reasons, version=F("version") + 1)
    return case


def service_level(project_id: int) -> ServiceLevel:
    """The project's own, or the defaults (not stored)."""
    return ServiceLevel.objects.filter(project_id=project_id).first() or ServiceLevel(project_id=project_id)


def _clocks(service: ServiceLevel, level: str, opened_at: datetime, responded_at: datetime | None) -> dict[str, Any]:
    """The fields that say when the targets are missed."""
    calendar, (first, last) = service.calendar(), service.minutes(level)
    first_due = due(calendar, opened_at, timedelta(minutes=first))
    resolve_due = due(calendar, opened_at, timedelta(minutes=last))
    counting = [d for d in (None if responded_at else first_due, resolve_due) if d]
    return {"first_due_at": first_due, "resolve_due_at": resolve_due, "next_due_at": min(counting, default=None)}


def reset_clocks(*, project_id: int) -> int:
    """Hours or targets have changed: the open cases' clocks follow. A breach that was announced stays announced."""
    service, changed = service_level(project_id), 0
    with transaction.atomic():
        for case in Escalation.objects.select_for_update().filter(project_id=project_id, state=EscalationState.OPEN):
            fields = _clocks(service, case.level, case.opened_at, case.first_response_at)
            changed += Escalation.objects.filter(pk=case.pk).update(**fields, version=F("version") + 1)
    return changed


@dataclass(frozen=True)
class Hand:
    """Who acts on which case, and the version of it that they saw."""

    project_id: int
    case_id: int
    version: int
    agent_id: int


def find(*, project_id: int, case_id: int) -> Escalation:
    """The case; 404 where the project has no such one."""
    found = Escalation.objects.filter(pk=case_id, project_id=project_id).select_related("inquiry", "assignee").first()
    if found is None:
        raise not_found("escalation")
    return found


def change(hand: Hand, entry: CaseEntry, **fields: Any) -> Escalation:
    """Compare and set: write `fields` and the entry where the case is open and still as it was seen, else raise 409."""
    with transaction.atomic():
        seen = Escalation.objects.filter(
            pk=hand.case_id, project_id=hand.project_id, state=EscalationState.OPEN, version=hand.version
        )
        if not seen.update(version=F("version") + 1, **fields):
            raise _overtaken(find(project_id=hand.project_id, case_id=hand.case_id))
        entry.case_id, entry.author_id = hand.case_id, hand.agent_id
        entry.save(force_insert=True)
        return find(project_id=hand.project_id, case_id=hand.case_id)


def _overtaken(case: Escalation) -> Problem:
    last = case.entries.select_related("author").order_by("-pk").first()
    name = last.author.username if last and last.author else "Somebody else"
    if case.state == EscalationState.RESOLVED:
        return Problem(409, "case-resolved", f"{name} has resolved this case. Nothing of yours was sent.")
    return Problem(
        409, "case-changed", f"{name} has changed this case since you opened it. Look at it and try again.", field="version"
    )  # fmt: skip


def assign(hand: Hand, *, to_id: int | None) -> Escalation:
    """Give the case to somebody who may work on it, or back to nobody."""
    if to_id is None:
        return change(hand, CaseEntry(kind=EntryKind.RELEASED), assignee=None)
    who = User.objects.filter(pk=to_id, is_active=True, pk__in=agents_of(hand.project_id)).first()
    if who is None:
        raise invalid("assignee", "This person is no agent, lead or admin of the project. Choose somebody who is.")
    return change(hand, CaseEntry(kind=EntryKind.ASSIGNED, data={"to": who.username}), assignee=who)


def agents_of(project_id: int) -> Sequence[int]:
    """The ids of those who may work on cases."""
    rows = Membership.objects.filter(project_id=project_id, role__in=AGENTS, user__is_active=True)
    return list(rows.values_list("user_id", flat=True).distinct())


def snooze(hand: Hand, *, until: datetime | None) -> Escalation:
    """Set the case aside until a moment, at which it is back by itself; None wakes it now. The clocks go on."""
    now = timezone.now()
    if until is None:
        return change(hand, CaseEntry(kind=EntryKind.WOKEN), snoozed_until=None)
    if not now < until <= now + MAX_SNOOZE:
        raise invalid("until", f"Choose a moment within the next {MAX_SNOOZE.days} days.")
    entry = CaseEntry(kind=EntryKind.SNOOZED, data={"until": until.isoformat()})
    return change(hand, entry, snoozed_until=until)


def set_level(hand: Hand, *, level: str) -> Escalation:
    """A person knows better how urgent it is: place in the list and clocks follow."""
    if level not in Level.values:
        raise invalid("level", f"The priority is one of {', '.join(Level.values)}.")
    case = find(project_id=hand.project_id, case_id=hand.case_id)
    given = LEVEL_POINTS[level]
    clocks = _clocks(service_level(hand.project_id), level, case.opened_at, case.first_response_at)
    entry = CaseEntry(kind=EntryKind.LEVEL, data={"from": case.level, "to": level})
    return change(hand, entry, level=level, priority=given, standing=standing(given, case.opened_at), **clocks)


def note(*, project_id: int, case_id: int, agent_id: int, text: str) -> CaseEntry:
    """A word to colleagues, also on a resolved case, without personal data. Two notes at once are two: nothing is compared."""
    must_be_text("text", text)
    case = find(project_id=project_id, case_id=case_id)
    text = privacy.masked(text, project_id=project_id).text
    return CaseEntry.objects.create(case=case, kind=EntryKind.NOTE, author_id=agent_id, text=text)


def must_be_text(field: str, text: str) -> None:
    if fault := fault_in(text):
        raise invalid(field, f"The text {fault}.")


def look_at(*, case: Escalation, user_id: int) -> list[User]:
    """Note that somebody has the case open; returns who else has."""
    now = timezone.now()
    viewer, new = CaseViewer.objects.get_or_create(case=case, user_id=user_id, defaults={"seen_at": now})
    if not new and viewer.seen_at < now - VIEWING / 6:
        CaseViewer.objects.filter(pk=viewer.pk).update(seen_at=now)
    rows = CaseViewer.objects.filter(case=case, seen_at__gt=now - VIEWING).exclude(user_id=user_id)
    return [v.user for v in rows.select_related("user").order_by("user__username")]
