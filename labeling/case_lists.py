"""Reads of the console: saved views with their counts, the list, and one case with its story."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q, QuerySet
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling.case_models import CaseEntry
from labeling.escalation import Calendar, worked
from labeling.models import Escalation, EscalationState

# A view that holds more is shown as "1,000 or more", so that counting stays cheap.
COUNT_LIMIT = 1_000
PAGE_SIZE = 50
# A clock that runs out within this is about to.
SOON = timedelta(minutes=15)


class View(models.TextChoices):
    """The saved views, in their order on the screen."""

    OPEN = "open", "Open"
    MINE = "mine", "Mine"
    UNASSIGNED = "unassigned", "Unassigned"
    BREACHING = "breaching", "Breaching"
    HIGH_RISK = "high-risk", "High risk"
    SNOOZED = "snoozed", "Snoozed"
    RESOLVED = "resolved", "Resolved"


def in_project(project_id: int) -> QuerySet[Escalation]:
    """All cases of a project, with what a page shows of each."""
    return Escalation.objects.filter(project_id=project_id).select_related(
        "inquiry__reply", "assignee", "category", "project"
    )


def own(project_id: int, case_id: int) -> Escalation:
    """One case of a project; 404 where it has no such one."""
    if (found := in_project(project_id).filter(pk=case_id).first()) is None:
        raise Http404(_("There is no such case in this project."))
    return found


def in_view(project_id: int, user_id: int, view: str) -> QuerySet[Escalation]:
    """The cases of a view, most urgent first; the snoozed ones by when they come back, the resolved ones newest first.

    A snoozed case is in none but its own view, until its time has come.
    """
    now = timezone.now()
    own = in_project(project_id)
    if view == View.RESOLVED:
        return own.filter(state=EscalationState.RESOLVED).order_by("-resolved_at", "-pk")
    waiting = own.filter(state=EscalationState.OPEN)
    if view == View.SNOOZED:
        return waiting.filter(snoozed_until__gt=now).order_by("snoozed_until", "pk")
    wanted = {
        View.MINE: Q(assignee_id=user_id),
        View.UNASSIGNED: Q(assignee=None),
        View.BREACHING: Q(next_due_at__lte=now + SOON),
        View.HIGH_RISK: Q(high_risk=True),
    }
    awake = waiting.filter(Q(snoozed_until=None) | Q(snoozed_until__lte=now))
    chosen = awake.filter(wanted[View(view)]) if view in wanted else awake
    return chosen.order_by("next_due_at", "pk") if view == View.BREACHING else chosen.order_by("standing", "pk")


def counts(project_id: int, user_id: int) -> dict[str, int]:
    """How many each view holds, up to `COUNT_LIMIT`; the resolved ones are not counted."""
    views = [v for v in View.values if v != View.RESOLVED]
    return {v: in_view(project_id, user_id, v).order_by()[:COUNT_LIMIT].count() for v in views}


@dataclass(frozen=True)
class Clock:
    """How a case stands with its next target: opening hours left (negative once missed), and the share used in [0, 1]."""

    due_at: datetime
    left: timedelta
    share: float
    first: bool

    @property
    def late(self) -> bool:
        return self.left <= timedelta()

    @property
    def soon(self) -> bool:
        return not self.late and self.left <= SOON


def clock_of(case: Escalation, *, calendar: Calendar, now: datetime) -> Clock | None:
    """None where nothing is due: the case is closed, or the desk never opens."""
    due_at = case.next_due_at
    if due_at is None:
        return None
    left = worked(calendar, now, due_at) if due_at > now else -worked(calendar, due_at, now)
    whole = worked(calendar, case.opened_at, due_at)
    share = 1.0 - left / whole if whole else 1.0
    first = case.first_response_at is None and due_at == case.first_due_at
    return Clock(due_at, left, min(max(share, 0.0), 1.0), first)


def story(case: Escalation) -> Sequence[CaseEntry]:
    """What was done with a case, oldest first."""
    return list(case.entries.select_related("author").order_by("pk")[:500])


def similar(case: Escalation, limit: int = 3) -> list[Escalation]:
    """Resolved cases of the same category, newest first: what colleagues answered."""
    category_id = case.category_id or case.inquiry.category_id
    if category_id is None:
        return []
    rows = Escalation.objects.filter(
        project_id=case.project_id, state=EscalationState.RESOLVED, category_id=category_id
    ).exclude(Q(pk=case.pk) | Q(reply_text=""))
    return list(rows.select_related("inquiry", "assignee").order_by("-resolved_at")[:limit])
