"""The page on which leads read the audit: who did what when, newest first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_date
from django.utils.http import urlencode
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from feedback.models import AuditEvent, Category, Membership, Role, User
from labeling.access import Visitor, page

PAGE_SIZE = 50
KINDS = {
    "project": gettext_lazy("Settings"),
    "category": gettext_lazy("Category"),
    "reply": gettext_lazy("Reply"),
    "role": gettext_lazy("Role"),
    "app": gettext_lazy("App"),
    "key": gettext_lazy("Key"),
    "guideline": gettext_lazy("Guideline"),
    "qualification": gettext_lazy("Qualification"),
    "gold": gettext_lazy("Gold item"),
    "task": gettext_lazy("Task"),
    "annotation": gettext_lazy("Answer"),
    "comparison": gettext_lazy("Comparison of replies"),
    "label": gettext_lazy("Label"),
    "escalation": gettext_lazy("Escalation"),
    "model": gettext_lazy("Model"),
    "rollout": gettext_lazy("Rollout"),
    "rollouts": gettext_lazy("Rollout settings"),
    "alias": gettext_lazy("Name of a version"),
    "gates": gettext_lazy("Gates"),
    "training": gettext_lazy("Training"),
    "topic": gettext_lazy("Topic"),
    "drift": gettext_lazy("Drift and loop guard"),
}
ACTIONS = {"insert": gettext_lazy("made"), "update": gettext_lazy("changed"), "delete": gettext_lazy("removed")}
COLUMNS = {
    "state": gettext_lazy("state"),
    "category_id": gettext_lazy("category"),
    "resolution": gettext_lazy("resolution"),
    "role": gettext_lazy("role"),
    "annotator_id": gettext_lazy("annotator"),
    "assignee_id": gettext_lazy("assignee"),
    "user_id": gettext_lazy("person"),
    "task_id": gettext_lazy("task"),
    "inquiry_id": gettext_lazy("inquiry"),
    "source": gettext_lazy("source"),
    "stage": gettext_lazy("stage"),
    "number": gettext_lazy("number"),
    "promoted_at": gettext_lazy("promoted"),
    "approved_by": gettext_lazy("approved by"),
    "barred": gettext_lazy("barred"),
    "approval": gettext_lazy("approval needed"),
    "nightly_hour": gettext_lazy("hour of the nightly training"),
    "challenger": gettext_lazy("challenger"),
    "challenger_options": gettext_lazy("options of the challenger"),
    "saw_suggestion": gettext_lazy("saw the suggestion"),
    "extra": gettext_lazy("not counted"),
    "verdict": gettext_lazy("verdict"),
    "name": gettext_lazy("name"),
    "guideline": gettext_lazy("guideline"),
    "overlap": gettext_lazy("overlap"),
    "priority": gettext_lazy("priority"),
    "scopes": gettext_lazy("scopes"),
    "revoked_at": gettext_lazy("revoked"),
    "expires_at": gettext_lazy("expires"),
}
_CURSOR = re.compile(r"^(\d{1,17})-(\d{1,18})$")


@dataclass(frozen=True)
class Filters:
    """What of the audit is asked for; what makes no sense is left out rather than refused."""

    person: int | None
    kind: str
    object: str
    first: date | None
    last: date | None

    @classmethod
    def of(cls, request: HttpRequest) -> Filters:
        given = request.GET
        person = given.get("person", "")
        kind = given.get("kind", "")
        return cls(
            int(person) if person.isdecimal() and len(person) < 10 else None, kind if kind in KINDS else "", given.get("object", "")[:40],
            _day(given.get("from", "")), _day(given.get("to", "")),
        )  # fmt: skip

    def query(self) -> str:
        named = {"person": self.person, "kind": self.kind, "object": self.object, "from": self.first, "to": self.last}
        return urlencode({k: str(v) for k, v in named.items() if v})


def _day(given: str) -> date | None:
    try:
        return parse_date(given)
    except ValueError:
        return None


def trail(project_id: int, wanted: Filters, before: tuple[datetime, int] | None = None) -> QuerySet[AuditEvent]:
    """The events of a project, newest first; `before` is the last one that was read (keyset paging: no page is ever slow)."""
    own = AuditEvent.objects.filter(project_id=project_id)
    if wanted.person:
        own = own.filter(user_id=wanted.person)
    if wanted.kind:
        own = own.filter(kind=wanted.kind)
    if wanted.object:
        own = own.filter(object=wanted.object)
    if wanted.first:
        own = own.filter(at__gte=datetime.combine(wanted.first, datetime.min.time(), UTC))
    if wanted.last:
        own = own.filter(at__lt=datetime.combine(wanted.last, datetime.min.time(), UTC) + timedelta(days=1))
    if before:
        # The first condition alone is what the index can seek by; the second sorts out rows of the same moment.
        own = own.filter(at__lte=before[0]).exclude(at=before[0], id__gte=before[1])
    return own.order_by("-at", "-id")


@page(Role.LEAD, Role.ADMIN)
@require_safe
def audit(request: HttpRequest, who: Visitor) -> HttpResponse:
    """One page of the trail."""
    wanted = Filters.of(request)
    found = list(trail(who.project.pk, wanted, _before(request))[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    words = _Words(who, shown)
    context = {
        "project": who.project, "wanted": wanted, "kinds": KINDS, "people": people(who.project.pk), "rows": [words.row(e) for e in shown],
        "older": f"?{wanted.query()}&before={_cursor(shown[-1])}" if len(found) > PAGE_SIZE else "",
        "newest": f"?{wanted.query()}" if request.GET.get("before") else "",
    }  # fmt: skip
    return render(request, "labeling/audit.html", context)


def _cursor(event: AuditEvent) -> str:
    return f"{round(event.at.timestamp() * 1_000_000)}-{event.pk}"


def _before(request: HttpRequest) -> tuple[datetime, int] | None:
    """The place to read on from: microseconds and id."""
    found = _CURSOR.match(request.GET.get("before", ""))
    if found is None:
        return None
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(found[1])), int(found[2])
    except OverflowError:
        return None


def people(project_id: int) -> list[User]:
    """Whose deeds one may look for: the members of the project."""
    members = Membership.objects.filter(project_id=project_id).values("user_id")
    return list(User.objects.filter(pk__in=members).order_by("username"))


class _Words:
    """A page of events in words; names are looked up once for all of them."""

    def __init__(self, who: Visitor, events: Sequence[AuditEvent]) -> None:
        language = get_language() or "en"
        ids = {e.user_id for e in events if e.user_id} | {
            v for e in events for v in _values(e, "user_id", "assignee_id", "annotator_id")
        }
        self.names = {u.pk: u.get_full_name() or u.username for u in User.objects.filter(pk__in=ids)}
        self.categories = {c.pk: c.name_in(language) for c in Category.objects.filter(project=who.project)}

    def row(self, event: AuditEvent) -> dict[str, Any]:
        return {
            "event": event, "who": self._who(event), "person": event.user_id is not None, "kind": KINDS.get(event.kind, event.kind),
            "action": ACTIONS.get(event.action, event.action), "changes": [self._change(*c) for c in event.changes.items()],
            "request": event.context.get("request", ""),
        }  # fmt: skip

    def _who(self, event: AuditEvent) -> str:
        """A person, a key, a job, or the user of the database where nobody said who acts."""
        if event.user_id is not None:
            return self.names.get(event.user_id) or _("Person %(n)s, gone") % {"n": event.user_id}
        if key := event.context.get("key"):
            return _("Key %(n)s") % {"n": key}
        if job := event.context.get("job"):
            return _("Job %(n)s") % {"n": job}
        return _("Database: %(name)s") % {"name": event.db_user}

    def _change(self, column: str, values: Any) -> tuple[str, str, str]:
        """Column, before, after; a text has neither."""
        name = str(COLUMNS.get(column, column.removesuffix("_id").replace("_", " ")))
        if not isinstance(values, list):
            return name, "", _("text changed")
        before, after = (self._value(column, v) for v in values)
        return name, before, after

    def _value(self, column: str, value: Any) -> str:
        if value is None:
            return ""
        if column == "category_id":
            return self.categories.get(value, str(value))
        if column in ("user_id", "assignee_id", "annotator_id"):
            return self.names.get(value, str(value))
        if isinstance(value, bool):
            return _("yes") if value else _("no")
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)[:200]


def _values(event: AuditEvent, *columns: str) -> list[int]:
    return [v for c in columns for v in (event.changes.get(c) or []) if isinstance(v, int)]
