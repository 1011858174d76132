"""The escalation console: customers who wait for a person, and what to answer them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from feedback.models import Category, Event, Reply
from labeling import services
from labeling.access import AGENTS, Visitor, page
from labeling.models import Escalation, EscalationState
from labeling.shortcuts import BOTH, CASES, Shortcuts, key_rows
from labeling.spans import since
from labeling.wording import case_reasons

PAGE_SIZE = 50
VIEWS = {
    "open": gettext_lazy("Open"),
    "mine": gettext_lazy("Mine"),
    "unassigned": gettext_lazy("Unassigned"),
    "resolved": gettext_lazy("Resolved"),
}


class CategoryField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """Categories under their names in the reader's language."""

    def label_from_instance(self, obj: Category) -> str:
        return obj.name_in(get_language() or "en")


class ResolveForm(forms.Form):
    """What the customer is told, and what the inquiry was about: the category becomes a label."""

    category = CategoryField(
        queryset=Category.objects.none(), to_field_name="key", label=gettext_lazy("It was about"),
        empty_label=gettext_lazy("Choose a category"),
        error_messages={"required": gettext_lazy("Choose what it was about: the choice becomes a label.")},
    )  # fmt: skip
    reply = forms.CharField(
        label=gettext_lazy("Reply to the customer"), max_length=8000, widget=forms.Textarea(attrs={"rows": 7}),
        error_messages={"required": gettext_lazy("Write what the customer is told.")},
    )  # fmt: skip

    def __init__(self, *args: Any, who: Visitor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["category"]
        assert isinstance(field, CategoryField)
        field.queryset = Category.objects.filter(project=who.project, archived_at=None)
        for name in self.errors if self.is_bound else ():
            self.fields[name].widget.attrs |= {"aria-invalid": "true", "aria-describedby": f"fault-{name}"}


def in_view(who: Visitor, view: str) -> QuerySet[Escalation]:
    """The cases of a saved view, most urgent first; the resolved ones newest first."""
    own = Escalation.objects.filter(project=who.project).select_related("inquiry", "assignee", "category")
    if view == "resolved":
        return own.filter(state=EscalationState.RESOLVED).order_by("-resolved_at")
    waiting = own.filter(state=EscalationState.OPEN).order_by("-priority", "opened_at")
    if view == "mine":
        return waiting.filter(assignee=who.user)
    return waiting.filter(assignee=None) if view == "unassigned" else waiting


@page(*AGENTS)
def cases(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The list with its most urgent case opened."""
    view = _view(request)
    return _render(request, who, view, in_view(who, view).first(), None)


@page(*AGENTS)
def case(request: HttpRequest, who: Visitor, case_id: int) -> HttpResponse:
    """One case beside the list; only its pane when the list is already there."""
    return _render(request, who, _view(request), _own(who, case_id), None)


@page(*AGENTS)
@require_POST
def assign(request: HttpRequest, who: Visitor, case_id: int) -> HttpResponse:
    """Take a case, or give it back."""
    found = _own(who, case_id)
    mine = found.assignee_id == who.user.pk
    Escalation.objects.filter(pk=found.pk, state=EscalationState.OPEN).update(assignee=None if mine else who.user)
    return redirect(_url("case", who, _view(request), case_id))


@page(*AGENTS)
@require_POST
def resolve(request: HttpRequest, who: Visitor, case_id: int) -> HttpResponse:
    """Answer the customer and settle the category; on to the next case."""
    found, view = _own(who, case_id), _view(request)
    form = ResolveForm(request.POST, who=who)
    if found.state == EscalationState.RESOLVED:
        messages.warning(request, _("Somebody else has resolved this case. Your reply was not sent; it is kept below."))
        return _render(request, who, view, found, form, status=409)
    if not form.is_valid():
        return _render(request, who, view, found, form, status=422)
    following = _after(who, view, found)
    services.resolve_escalation(
        escalation_id=found.pk, agent_id=who.user.pk, category_id=form.cleaned_data["category"].pk,
        reply_text=form.cleaned_data["reply"],
    )  # fmt: skip
    messages.success(request, _("Resolved: %(case)s.") % {"case": _subject(found)})
    return redirect(_url("case", who, view, following.pk) if following else _url("cases", who, view))


def _after(who: Visitor, view: str, found: Escalation) -> Escalation | None:
    """The next case down the list, else the first of what remains."""
    ids = list(in_view(who, view).values_list("pk", flat=True)[: PAGE_SIZE * 4])
    later = ids[ids.index(found.pk) + 1 :] if found.pk in ids else ids
    rest = later or [i for i in ids if i != found.pk]
    return Escalation.objects.filter(pk=rest[0]).first() if rest else None


def _render(
    request: HttpRequest,
    who: Visitor,
    view: str,
    chosen: Escalation | None,
    form: ResolveForm | None,
    status: int = 200,
) -> HttpResponse:
    shortcuts = Shortcuts.of(who.user.preferences)
    context: dict[str, Any] = {"project": who.project, "view": view, "case": chosen, "caps": shortcuts.caps}
    if chosen is not None:
        context |= _case(who, chosen, form)
    if request.headers.get("HX-Request") and request.method == "GET":
        return render(request, "labeling/case.html", context, status=status)
    listed = Paginator(in_view(who, view), PAGE_SIZE).get_page(request.GET.get("page"))
    context |= {
        "views": [(n, label, in_view(who, n).order_by()[:1000].count()) for n, label in VIEWS.items() if n != "resolved"],
        "rows": [_row(c) for c in listed], "listed": listed, "shortcuts_on": shortcuts.on,
        "keys": key_rows(shortcuts, CASES, BOTH),
        "console": {"shortcuts": {"on": shortcuts.on, "keys": dict(shortcuts.keys)}},
    }  # fmt: skip
    return render(request, "labeling/cases.html", context, status=status)


def _row(escalation: Escalation) -> dict[str, Any]:
    return {
        "case": escalation,
        "subject": _subject(escalation),
        "reasons": case_reasons(escalation.reasons),
        "age": _age(escalation),
    }


def _case(who: Visitor, chosen: Escalation, form: ResolveForm | None) -> dict[str, Any]:
    replies = (
        Reply.objects.filter(project=who.project, active=True).select_related("category").order_by("category", "slot")
    )
    return {
        "subject": _subject(chosen), "reasons": case_reasons(chosen.reasons), "form": form or ResolveForm(who=who),
        "mine": chosen.assignee_id == who.user.pk, "age": _age(chosen),
        "events": Event.objects.filter(inquiry_id=chosen.inquiry_id).order_by("occurred_at")[:50],
        "macros": [
            {"category": r.category.key, "name": r.category.name_in(get_language() or "en"), "locale": r.locale, "text": r.text}
            for r in replies
        ],
    }  # fmt: skip


def _age(escalation: Escalation) -> str:
    """How long the customer has waited, or how long ago the wait ended."""
    return since(escalation.resolved_at or escalation.opened_at)


def _subject(escalation: Escalation) -> str:
    """The first line of what the customer wrote, as the case's name."""
    first = escalation.inquiry.text.strip().splitlines()[0]
    return first if len(first) <= 90 else first[:89].rstrip() + "…"


def _own(who: Visitor, case_id: int) -> Escalation:
    found = Escalation.objects.filter(pk=case_id, project=who.project).select_related("inquiry", "assignee", "category")
    if (one := found.first()) is None:
        raise Http404(_("There is no such case in this project."))
    return one


def _view(request: HttpRequest) -> str:
    given = request.GET.get("view", "open")
    return given if given in VIEWS else "open"


def _url(name: str, who: Visitor, view: str, *args: Any) -> str:
    query = "" if view == "open" else f"?view={view}"
    return reverse(name, args=[who.project.slug, *args]) + query
