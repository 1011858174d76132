"""The Reveal button of a case: a fragment that asks for a reason, and the same fragment with the customer's own words."""

from __future__ import annotations

import uuid

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from feedback import privacy
from feedback.models import Inquiry
from feedback.problems import Problem
from labeling.access import AGENTS, Visitor, page


@never_cache
@page(*AGENTS)
def reveal(request: HttpRequest, who: Visitor, inquiry_id: uuid.UUID) -> HttpResponse:
    """GET: the form. POST with a reason: the text without placeholders; nothing of it is kept by the browser."""
    if not Inquiry.objects.filter(pk=inquiry_id, project=who.project).exists():
        raise Http404(_("There is no such inquiry in this project."))
    context = {"project": who.project, "inquiry_id": inquiry_id}
    if request.method != "POST":
        return render(request, "labeling/reveal.html", context)
    try:
        shown = privacy.reveal(
            project_id=who.project.pk, inquiry_id=inquiry_id, person=who.user, reason=request.POST.get("reason", "")
        )
    except Problem as problem:
        # htmx swaps answers of 200 only: a refusal is said in the fragment's place.
        return render(request, "labeling/reveal.html", {**context, "fault": problem})
    return render(request, "labeling/reveal.html", {**context, "shown": shown})
