"""What the console shows, put together for its templates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseNotModified
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from feedback.models import Event
from labeling import case_lists
from labeling.access import LEADS, Visitor
from labeling.case_batches import Done
from labeling.case_forms import OUTCOMES, ResolveForm, macros_for, pauses
from labeling.case_lists import Clock, View, clock_of
from labeling.case_models import CaseBatch, CaseEntry, EntryKind, Level
from labeling.case_resolving import automatic_reply
from labeling.escalation import Calendar
from labeling.escalations import service_level
from labeling.models import Draft, DraftState, Escalation, EscalationState
from labeling.shortcuts import BOTH, CASES, Shortcuts, key_rows
from labeling.spans import duration, since
from labeling.wording import case_reasons

UNDO_FOR = timedelta(minutes=30)
VIEW_NAMES: dict[str, str | Promise] = {
    View.OPEN: gettext_lazy("Open"),
    View.MINE: gettext_lazy("Mine"),
    View.UNASSIGNED: gettext_lazy("Unassigned"),
    View.BREACHING: gettext_lazy("Breaching"),
    View.HIGH_RISK: gettext_lazy("High risk"),
    View.SNOOZED: gettext_lazy("Snoozed"),
    View.RESOLVED: gettext_lazy("Resolved"),
}
LEVEL_NAMES: dict[str, str | Promise] = {
    Level.URGENT: gettext_lazy("Urgent"),
    Level.HIGH: gettext_lazy("High"),
    Level.NORMAL: gettext_lazy("Normal"),
    Level.LOW: gettext_lazy("Low"),
}
EMPTY: dict[str, str | Promise] = {
    View.OPEN: gettext_lazy("Nobody waits."),
    View.MINE: gettext_lazy("No case is yours. Take one from Unassigned."),
    View.UNASSIGNED: gettext_lazy("Every case has somebody."),
    View.BREACHING: gettext_lazy("No target is missed, and none will be within a quarter of an hour."),
    View.HIGH_RISK: gettext_lazy("No risky case is open."),
    View.SNOOZED: gettext_lazy("Nothing is set aside. A snoozed case comes back by itself."),
    View.RESOLVED: gettext_lazy("Nothing has been resolved yet."),
}


@dataclass(frozen=True)
class Shown:
    """What a page of the console is about: the view, the chosen case, and what has just happened."""

    view: str
    case: Escalation | None
    form: ResolveForm | None = None
    warning: str = ""
    preview: dict[str, Any] | None = None
    status: int = 200


def view_of(request: HttpRequest) -> str:
    given = request.GET.get("view", View.OPEN)
    return given if given in View.values else View.OPEN


def url(name: str, who: Visitor, view: str, *args: Any) -> str:
    """The address of a page in a view."""
    query = "" if view == View.OPEN else f"?view={view}"
    return reverse(name, args=[who.project.slug, *args]) + query


def show(request: HttpRequest, who: Visitor, shown: Shown) -> HttpResponse:
    """The whole console, or the case's pane alone where the rest is there already."""
    shortcuts, calendar, now = (
        Shortcuts.of(who.user.preferences),
        service_level(who.project.pk).calendar(),
        timezone.now(),
    )
    context: dict[str, Any] = {
        "project": who.project, "view": shown.view, "case": shown.case, "caps": shortcuts.caps, "warning": shown.warning,
        "query": "" if shown.view == View.OPEN else f"?view={shown.view}", "preview": shown.preview,
    }  # fmt: skip
    if shown.case is not None and shown.preview is None:
        context |= _case(who, shown.case, shown.form, calendar, now)
    if request.headers.get("HX-Target") == "case" and request.method == "GET":
        return _addressed(request, who, shown, render(request, "labeling/case.html", context, status=shown.status))
    context |= _list(request, who, shown.view, calendar, now) | {
        "views": _views(who), "shortcuts_on": shortcuts.on, "undoable": _undoable(request, who),
        "keys": key_rows(shortcuts, CASES, BOTH), "pauses": pauses(calendar, now), "levels": LEVEL_NAMES,
        "leads": bool(who.roles & LEADS),
        "console": {"shortcuts": {"on": shortcuts.on, "keys": dict(shortcuts.keys)}, "words": _words()},
    }  # fmt: skip
    return _addressed(request, who, shown, render(request, "labeling/cases.html", context, status=shown.status))


def _addressed(request: HttpRequest, who: Visitor, shown: Shown, response: HttpResponse) -> HttpResponse:
    """Tell htmx which address the page now has: never that of a form, which could not be loaded again."""
    if request.headers.get("HX-Request"):
        here = url("case", who, shown.view, shown.case.pk) if shown.case else url("cases", who, shown.view)
        response["HX-Push-Url"] = request.get_full_path() if request.method == "GET" else here
    return response


def _words() -> dict[str, str]:
    """What the script says."""
    return {
        "offline": _(
            "Not sent: the connection is gone. What you wrote is kept here; send it again when the connection is back."
        ),
        "failed": _("Something went wrong on our side. Nothing was changed; what you wrote is kept here."),
        "chosen": _("{n} chosen"),
        "commands": _("{n} actions"),
        "no_command": _("No action matches."),
    }


def _views(who: Visitor) -> list[dict[str, Any]]:
    held = case_lists.counts(who.project.pk, who.user.pk)
    limit = case_lists.COUNT_LIMIT
    return [
        {
            "name": v, "label": label, "count": f"{limit:,}+" if held.get(v, 0) >= limit else held.get(v),
            "warn": v == View.BREACHING and held[v],
        }
        for v, label in VIEW_NAMES.items()
    ]  # fmt: skip


def polled(request: HttpRequest, who: Visitor, view: str) -> HttpResponse:
    """The views with their counts, or 304 where they are as the caller has them."""
    context = {"project": who.project, "views": _views(who), "view": view, "leads": bool(who.roles & LEADS)}
    return _tagged(request, render(request, "labeling/case_views.html", context))


def presence(request: HttpRequest, case: Escalation, others: Sequence[Any], seen: str) -> HttpResponse:
    """Who else has the case open, and whether it has changed; 304 where nothing is new."""
    changed = seen.isascii() and seen.isdigit() and int(seen[:9]) != case.version
    return _tagged(
        request,
        render(
            request,
            "labeling/presence.html",
            {"others": others, "changed": changed, "case": case, "project": case.project},
        ),
    )


def _tagged(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    etag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    if etag in request.headers.get("If-None-Match", ""):
        response = HttpResponseNotModified()
    response["ETag"], response["Cache-Control"] = etag, "private, no-cache"
    return response


def _list(request: HttpRequest, who: Visitor, view: str, calendar: Calendar, now: datetime) -> dict[str, Any]:
    given = request.GET.get("page", "1")
    page = min(max(int(given[:6]), 1), 10_000) if given.isascii() and given.isdigit() else 1
    first, size = (page - 1) * case_lists.PAGE_SIZE, case_lists.PAGE_SIZE
    rows = list(case_lists.in_view(who.project.pk, who.user.pk, view)[first : first + size + 1])
    return {
        "rows": [row(c, calendar, now) for c in rows[:size]], "empty": EMPTY[view], "view_name": VIEW_NAMES[view],
        "earlier": page - 1, "later": page + 1 if len(rows) > size else 0,
    }  # fmt: skip


def row(case: Escalation, calendar: Calendar, now: datetime) -> dict[str, Any]:
    """A line of the list."""
    return {
        "case": case, "subject": subject(case), "reasons": case_reasons(case.reasons), "age": age(case),
        "level": LEVEL_NAMES[case.level], "clock": _clock(clock_of(case, calendar=calendar, now=now)),
    }  # fmt: skip


def _clock(clock: Clock | None) -> dict[str, Any] | None:
    if clock is None:
        return None
    span = duration(abs(timedelta(minutes=round(clock.left.total_seconds() / 60))))
    if clock.late:
        words = _("Reply overdue by %(span)s") if clock.first else _("Resolution overdue by %(span)s")
    else:
        words = _("Reply within %(span)s") if clock.first else _("Resolve within %(span)s")
    state = "late" if clock.late else "soon" if clock.soon else "calm"
    return {
        "words": words % {"span": span},
        "percent": round(100 * clock.share),
        "state": state,
        "due_at": clock.due_at,
    }


def _case(
    who: Visitor, case: Escalation, form: ResolveForm | None, calendar: Calendar, now: datetime
) -> dict[str, Any]:
    entries = list(case_lists.story(case))
    automatic = automatic_reply(case) if case.state == EscalationState.OPEN else case.inquiry.reply
    return {
        **row(case, calendar, now), "form": form or ResolveForm(who=who, initial={"version": case.version}),
        "mine": case.assignee_id == who.user.pk, "snoozed": bool(case.snoozed_until and case.snoozed_until > now),
        "events": Event.objects.filter(inquiry_id=case.inquiry_id).order_by("occurred_at")[:50],
        "talk": [e for e in entries if e.kind in (EntryKind.REPLY, EntryKind.NOTE)],
        "history": [(e, what(e)) for e in entries if e.kind not in (EntryKind.REPLY, EntryKind.NOTE)],
        "automatic": automatic, "macros": macros_for(case, who) if case.state == EscalationState.OPEN else [],
        "similar": [(c, subject(c)) for c in case_lists.similar(case)], "pauses": pauses(calendar, now), "levels": LEVEL_NAMES,
        "outcome": OUTCOMES.get(case.outcome, ""), "leads": bool(who.roles & LEADS),
        "draft": Draft.objects.filter(case=case, state=DraftState.WAITING).first(),
    }  # fmt: skip


def what(entry: CaseEntry) -> str:
    """What was done, as a sentence without its subject."""
    data = entry.data
    clocks = {"first_response": _("first reply"), "resolution": _("resolution")}
    return {
        EntryKind.ASSIGNED: lambda: _("gave the case to %(to)s") % {"to": data.get("to", "")},
        EntryKind.RELEASED: lambda: _("gave the case back"),
        EntryKind.SNOOZED: lambda: _("set the case aside"),
        EntryKind.WOKEN: lambda: _("brought the case back"),
        EntryKind.LEVEL: lambda: _("set the priority to %(level)s") % {"level": LEVEL_NAMES.get(data.get("to", ""), "")},
        EntryKind.BREACHED: lambda: _("target missed: %(clock)s") % {"clock": clocks.get(data.get("clock", ""), "")},
        EntryKind.RESOLVED: lambda: _("resolved the case: %(outcome)s") % {"outcome": OUTCOMES.get(data.get("outcome", ""), "")},
        EntryKind.UNDONE: lambda: _("took an action on several cases back"),
    }.get(EntryKind(entry.kind), lambda: entry.get_kind_display())()  # fmt: skip


def age(case: Escalation) -> str:
    """How long the customer has waited, or how long ago the wait ended."""
    return since(case.resolved_at or case.opened_at)


def subject(case: Escalation) -> str:
    """The first line of what the customer wrote, as the case's name."""
    first = case.inquiry.text.strip().splitlines()[0]
    return first if len(first) <= 90 else first[:89].rstrip() + "…"


def _undoable(request: HttpRequest, who: Visitor) -> dict[str, Any] | None:
    """The batch that was just done, while it can be taken back."""
    given = request.GET.get("batch", "")
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        return None
    mine = CaseBatch.objects.filter(project=who.project, author=who.user, undone_at=None)
    batch = mine.filter(pk=int(given), created_at__gt=timezone.now() - UNDO_FOR).first()
    return (
        {"batch": batch.pk, "n": len(batch.items), "left": request.GET.get("left", "")}
        if batch and batch.items
        else None
    )


def batch_url(who: Visitor, view: str, done: Done) -> str:
    """Back to the list, with what was done and what was left alone."""
    base = url("cases", who, view)
    left = f"&left={len(done.left_alone)}" if done.left_alone else ""
    return f"{base}{'&' if '?' in base else '?'}batch={done.batch.pk}{left}"
