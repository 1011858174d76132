"""Loop health: how long feedback takes to reach the live model, what waits where, and how far the model can be trusted."""

from __future__ import annotations

import uuid

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from labeling import selectors as labeling_selectors
from labeling.access import AGENTS, EVERYBODY, Visitor, page
from learning.health import figures, trends_of, work
from learning.polled import polled
from serving.models import DecisionRecord


@page(*EVERYBODY)
def loop(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The whole page; its figures come again from `live` while it is open."""
    context = {
        **figures(who),
        **trends_of(who.project),
        **work(who.project),
        "poll": reverse("loop-live", args=[who.project.slug]),
    }
    return render(request, "learning/loop.html", context)


@page(*EVERYBODY)
def live(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The figures alone, or 304 where nothing has changed since the caller's ETag."""
    if request.GET.get("part") == "work":
        return polled(request, render_to_string("learning/work.html", work(who.project), request=request))
    return polled(request, render_to_string("learning/figures.html", figures(who), request=request))


@page(*AGENTS)
def decision(request: HttpRequest, who: Visitor, inquiry_id: uuid.UUID) -> HttpResponse:
    """What the model said about one inquiry and how sure it was: a fragment for the escalation console."""
    record = DecisionRecord.objects.filter(inquiry_id=inquiry_id, inquiry__project=who.project).select_related(
        "category"
    )
    found = record.first()
    if found is None:
        raise Http404(_("There is no such decision in this project."))
    names = labeling_selectors.category_names(project_id=who.project.pk, revision=who.project.revision)
    ranked = sorted(found.probabilities.items(), key=lambda kv: -kv[1])[:3]
    return render(
        request, "learning/decision.html",
        {"record": found, "slug": who.project.slug, "ranked": [(names.get(key, key), share, round(100 * share)) for key, share in ranked]},
    )  # fmt: skip
