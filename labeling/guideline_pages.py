"""The page on which a lead writes the guideline of a category; each change is a version, and the earlier ones stay to be read."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from feedback.models import Category, Project
from feedback.problems import Problem
from feedback.texts import fault_in
from labeling import guidelines
from labeling.access import LEADS, Visitor, page
from labeling.models import Guideline


@page(*LEADS)
def guideline(request: HttpRequest, who: Visitor, category_id: int) -> HttpResponse:
    """Read and write it. Where somebody else wrote in between, nothing is overwritten and what was written stays in the field."""
    found = Category.objects.filter(pk=category_id, project=who.project).first()
    if found is None:
        raise Http404(_("There is no such category in this project."))
    text, fault = request.POST.get("guideline", found.guideline).replace("\r\n", "\n"), ""
    if request.method == "POST":
        fault = _write(who, found, text, known=request.POST.get("known", ""))
        if not fault:
            messages.success(request, _("Saved. Annotators see it from now on."))
            return redirect("category-guideline", slug=who.project.slug, category_id=found.pk)
        found.refresh_from_db()
    versions = Guideline.objects.filter(category=found).select_related("author").order_by("-number")[:50]
    context = {
        "project": who.project, "category": found, "name": found.name_in(get_language() or "en"), "text": text, "fault": fault,
        "versions": versions,
    }  # fmt: skip
    return render(request, "labeling/guideline.html", context, status=422 if fault else 200)


def _write(who: Visitor, category: Category, text: str, *, known: str) -> str:
    """A new version; or why there is none."""
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=who.project.pk)
        category.refresh_from_db()
        if category.guideline.strip() != known.replace("\r\n", "\n").strip():
            return _(
                "Somebody has changed the guideline since you opened it. Yours is below, unsaved, "
                "and theirs is the first version in the list."
            )
        if text.strip() and fault_in(text, limit=guidelines.LONGEST):
            return _("The guideline holds control characters or is too long. Write plain text.")
        try:
            guidelines.amend(category=category, text=text, author_id=who.user.pk)
        except Problem:
            return _("Write the guideline, in up to 20,000 characters.")
    return ""
