"""The escalation console: customers who wait for a person. Its pages; what agents do there is in case_actions.py."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from labeling import case_lists, case_page, escalations
from labeling.access import AGENTS, Visitor, page
from labeling.case_page import Shown, view_of


@page(*AGENTS)
def cases(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The list with its most urgent case opened."""
    view = view_of(request)
    return case_page.show(request, who, Shown(view, case_lists.in_view(who.project.pk, who.user.pk, view).first()))


@page(*AGENTS)
def case(request: HttpRequest, who: Visitor, case_id: int) -> HttpResponse:
    """One case beside the list; only its pane when the list is already there."""
    return case_page.show(request, who, Shown(view_of(request), case_lists.own(who.project.pk, case_id)))


@page(*AGENTS)
def views(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The saved views with their counts, asked for while the page is open."""
    return case_page.polled(request, who, view_of(request))


@page(*AGENTS)
def presence(request: HttpRequest, who: Visitor, case_id: int) -> HttpResponse:
    """Tell that the caller has the case open; answers who else has, and whether it has changed."""
    found = case_lists.own(who.project.pk, case_id)
    others = escalations.look_at(case=found, user_id=who.user.pk)
    return case_page.presence(request, found, others, request.GET.get("version", ""))
