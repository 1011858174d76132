"""What agents propose for a guideline when they resolve a case: a lead adds it or dismisses it."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from feedback.problems import Problem
from labeling import guidelines
from labeling.access import LEADS, Visitor, page
from labeling.case_models import CaseFinding, FindingKind


@page(*LEADS)
def proposals(request: HttpRequest, who: Visitor) -> HttpResponse:
    """All that wait, oldest first, beside what the guideline says now."""
    rows = CaseFinding.objects.filter(project=who.project, kind=FindingKind.GUIDELINE, decided_at=None)
    language = get_language() or "en"
    found = [
        (f, f.category.name_in(language))
        for f in rows.select_related("category", "author").order_by("pk")[:100]
        if f.category
    ]
    return render(request, "labeling/proposals.html", {"project": who.project, "rows": found})


@page(*LEADS)
@require_POST
def decide(request: HttpRequest, who: Visitor, finding_id: int) -> HttpResponse:
    """Add the proposal to the guideline, or dismiss it; the first decision counts."""
    own = CaseFinding.objects.filter(pk=finding_id, project=who.project, kind=FindingKind.GUIDELINE)
    found = own.select_related("category").first()
    if found is None or found.category is None:
        raise Http404(_("There is no such case in this project."))
    accept = request.POST.get("act") == "accept"
    if not own.filter(decided_at=None).update(decided_at=timezone.now(), accepted=accept):
        messages.warning(request, _("Somebody has decided this already."))
    elif accept:
        _accept(request, who, found)
    else:
        messages.success(request, _("Dismissed."))
    return redirect("guideline-proposals", slug=who.project.slug)


def _accept(request: HttpRequest, who: Visitor, found: CaseFinding) -> None:
    assert found.category is not None
    text = "\n\n".join(filter(None, [found.category.guideline, found.text]))
    try:
        guidelines.amend(category=found.category, text=text, author_id=who.user.pk)
    except Problem as problem:
        # It waits again: nothing of it was written.
        CaseFinding.objects.filter(pk=found.pk).update(decided_at=None, accepted=None)
        messages.warning(request, problem.detail)
    else:
        messages.success(request, _("Added to the guideline."))
