"""The pages on the quality of labels: a person's own work, and what a lead sees of agreement and reliability."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from feedback.models import Category, Role, User
from labeling import days, measures, queue, selectors
from labeling.access import Visitor, page
from labeling.agreement import ALL_ONE_CATEGORY, NO_ITEM, NO_PAIR, ONE_CATEGORY
from labeling.models import Band, Batch, Slot, SlotState
from labeling.policy import ENOUGH, Why
from labeling.reliability import Reliability

HISTORY = 50


@page(Role.ANNOTATOR, Role.EXPERT)
def my_work(request: HttpRequest, who: Visitor) -> HttpResponse:
    """A person's own answers and days."""
    given = request.GET.get("before", "")
    before = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else None
    past = selectors.history(project_id=who.project.pk, annotator_id=who.user.pk, before=before, limit=HISTORY)
    names = selectors.category_names(project_id=who.project.pk, revision=who.project.revision)
    for row in past["answers"]:
        row["name"] = names.get(row["category"], _("None of these"))
    mine = days.statistics_of(project_id=who.project.pk, annotator_id=who.user.pk)
    most = max((d["answers"] for d in mine["days"]), default=0)
    later = before is not None
    context = {"project": who.project, "past": past, "mine": mine, "most": most, "later": later}
    return render(request, "labeling/my_work.html", context)


@page(Role.LEAD, Role.ADMIN)
def quality(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Agreement, batches and reliability of a project, and who holds items right now."""
    report = measures.agreement_report(who.project.pk)
    names = selectors.category_names(project_id=who.project.pk, revision=who.project.revision)
    for row in report["categories"]:
        row["name"] = names.get(row["category"], row["category"])
    for row in [
        report,
        *report["pairs"],
        *report["categories"],
        *report["weeks"],
        report["fleiss"],
        report["krippendorff"],
    ]:
        row["why"] = why_undefined(row["why"])
    state = measures.state_of(who.project.pk)
    context = {
        "project": who.project,
        "report": report, "state": state, "band_now": band_words(state.band), "progress": _progress(state), "enough": ENOUGH,
        "batches": [(b, band_words(b.band), batch_words(b)) for b in measures.latest_batches(who.project.pk)],
        "held": _held(who.project.pk), **_reliability(who.project.pk),
    }  # fmt: skip
    return render(request, "labeling/quality.html", context)


@require_POST
@page(Role.LEAD, Role.ADMIN)
def clear_leases(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Take back what people hold: of everybody, or of the person that the form names."""
    given = request.POST.get("person", "")
    annotator_id = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else None
    n = queue.clear_leases(project_id=who.project.pk, annotator_id=annotator_id)
    messages.success(request, ngettext("%(n)s item is open again.", "%(n)s items are open again.", n) % {"n": n})
    return redirect("quality", slug=who.project.slug)


def _held(project_id: int) -> list[dict[str, Any]]:
    rows = Slot.objects.filter(project_id=project_id, state=SlotState.LEASED).select_related("annotator")
    people: dict[int, dict[str, Any]] = {}
    for slot in rows.order_by("lease_expires_at"):
        assert slot.annotator is not None
        person = people.setdefault(
            slot.annotator.pk, {"id": slot.annotator.pk, "name": slot.annotator.get_username(), "items": 0}
        )
        person["items"] += 1
        person["until"] = slot.lease_expires_at
    return list(people.values())


def _reliability(project_id: int) -> dict[str, Any]:
    found = measures.reliability_of(project_id)
    people = dict(User.objects.filter(pk__in={r.annotator for r in found}).values_list("pk", "username"))
    language = get_language() or "en"
    names = {c.pk: c.name_in(language) for c in Category.objects.filter(project_id=project_id)}
    rows = [(people[r.annotator], names.get(r.category, "") if r.category else "", r) for r in found]
    return {
        "reliability": [row for row in rows if row[2].category is None],
        "falling": [(who, what, fall_words(who, what, r)) for who, what, r in rows if r.falling],
    }


def fall_words(who: str, what: str, r: Reliability) -> str:
    """The evidence of a fall, as a sentence."""
    given = {
        "who": who, "what": what, "a": r.before.right, "b": r.before.total, "c": r.recent.right, "d": r.recent.total,
    }  # fmt: skip
    if what:
        return (
            _("%(who)s in %(what)s: right in %(a)s of %(b)s before, in %(c)s of %(d)s in the last four weeks.") % given
        )
    return _("%(who)s: right in %(a)s of %(b)s before, in %(c)s of %(d)s in the last four weeks.") % given


def why_undefined(why: str) -> str:
    """The library's reason in the reader's language."""
    known = {
        NO_ITEM: _("No item was labeled by both."),
        ONE_CATEGORY: _("Both used one category only: chance alone explains the agreement."),
        NO_PAIR: _("No item was labeled by two people."),
        ALL_ONE_CATEGORY: _("Everybody used one category only: chance alone explains the agreement."),
    }
    return known.get(why, why)


def band_words(band: str) -> str:
    return {
        Band.ALL.value: _("The expert reviews every item."),
        Band.DISAGREEMENTS.value: _("The expert reviews the disagreements."),
        Band.NONE.value: _("The expert reviews none but an audit sample; weighted consensus settles disagreements."),
    }[band]


def batch_words(batch: Batch) -> str:
    """Why a batch is in its band."""
    return {
        Why.FEW.value: _("Fewer than %(n)s items were labeled by two: only disagreements are reviewed.")
        % {"n": ENOUGH},
        Why.UNDEFINED.value: _("κ is not defined here: only one category was used."),
        Why.WITHIN.value: _("κ lies elsewhere, but its interval does not exclude the band before, which stays."),
        Why.CHANGED.value: _("The interval of κ excludes the band before."),
        Why.SAME.value: _("κ lies in the band before."),
    }.get(batch.why, "")


def _progress(state: measures.State) -> str:
    if state.open_batch is None:
        return _("No batch is open: one begins with the next item that two people label.")
    return _("Batch %(number)s: %(n)s of %(enough)s items labeled by two so far. Until then the rule above stays.") % {
        "number": state.open_batch, "n": state.doubles, "enough": ENOUGH,
    }  # fmt: skip
