"""What an agent does in the console: each a form, so that the page works by itself; a script makes it quick.

Every form carries the version of the case that the agent saw. Where somebody was first, the page comes again as it now is,
says who was first, and keeps what was written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from feedback.problems import Problem
from labeling import case_batches, case_lists, case_page, case_resolving, drafts, escalations
from labeling.access import AGENTS, LEADS, Visitor, page
from labeling.case_batches import Act
from labeling.case_forms import Pause, ResolveForm, pauses
from labeling.case_page import LEVEL_NAMES, Shown, url, view_of
from labeling.escalations import Hand
from labeling.models import Escalation

Change = Callable[[Hand], object]


def _hand(request: HttpRequest, who: Visitor, case_id: int) -> Hand:
    given = request.POST.get("version", "")
    version = int(given[:9]) if given.isascii() and given.isdigit() else 0
    return Hand(who.project.pk, case_lists.own(who.project.pk, case_id).pk, version, who.user.pk)


def _changed(request: HttpRequest, who: Visitor, case_id: int, change: Change) -> HttpResponse:
    """Do it and show the case; where somebody was first, say so and change nothing."""
    try:
        change(_hand(request, who, case_id))
    except Problem as problem:
        return _refused(request, who, case_id, problem)
    return redirect(url("case", who, view_of(request), case_id))


def _refused(
    request: HttpRequest, who: Visitor, case_id: int, problem: Problem, form: ResolveForm | None = None
) -> HttpResponse:
    case = case_lists.own(who.project.pk, case_id)
    if form is not None:
        # What was written is sent on the case as it is now, once the agent has looked at it.
        form = form.on_version(case.version)
    return case_page.show(request, who, Shown(view_of(request), case, form, _why(problem, case), status=problem.status))


def _why(problem: Problem, case: Escalation) -> str:
    last = case.entries.select_related("author").order_by("-pk").first()
    name = last.author.username if last and last.author else _("Somebody else")
    if problem.kind == "case-resolved":
        return _("%(name)s has resolved this case. Your reply was not sent; it is kept below.") % {"name": name}
    if problem.kind == "case-changed":
        return _(
            "%(name)s has changed this case since you opened it. It is shown as it is now; nothing of yours was sent."
        ) % {"name": name}
    if problem.kind == "draft-decided":
        return _("Somebody has decided this already.")
    return problem.detail


@page(*AGENTS)
@require_POST
def assign(request: HttpRequest, who: Visitor, case_id: int) -> HttpResponse:
    """Take a case, or give it back."""
    to_id = None if request.POST.get("to") == "nobody" else who.user.pk
    return _changed(request, who, case_id, lambda hand: escalations.assign(hand, to_id=to_id))


@page(*AGENTS)
@require_POST
def snooze(request: HttpRequest, who: Visitor, case_id: int) -> HttpResponse:
    """Set a case aside, or bring it back."""
    until = _pause(who, request.POST.get("until", ""))
    return _changed(request, who, case_id, lambda hand: escalations.snooze(hand, until=until.until if until else None))


def _pause(who: Visitor, key: str) -> Pause | None:
    calendar = escalations.service_level(who.project.pk).calendar()
    return next((p for p in pauses(calendar, timezone.now()) if p.key == key), None)


@page(*AGENTS)
@require_POST
def level(request: HttpRequest, who: Visitor, case_id: int) -> HttpResponse:
    """Set the priority."""
    return _changed(
        request, who, case_id, lambda hand: escalations.set_level(hand, level=request.POST.get("level", ""))
    )


@page(*AGENTS)
@require_POST
def note(request: HttpRequest, who: Visitor, case_id: int) -> HttpResponse:
    """Write a word to colleagues."""
    text = request.POST.get("text", "")
    mine: dict[str, Any] = {"project_id": who.project.pk, "case_id": case_id, "agent_id": who.user.pk, "text": text}
    return _changed(request, who, case_id, lambda hand: escalations.note(**mine))


@page(*AGENTS)
@require_POST
def dismiss_draft(request: HttpRequest, who: Visitor, case_id: int) -> HttpResponse:
    """The draft is of no use."""
    mine = {"project_id": who.project.pk, "case_id": case_id, "agent_id": who.user.pk}
    return _changed(request, who, case_id, lambda hand: drafts.dismiss(**mine))


@page(*AGENTS)
@require_POST
def answer(request: HttpRequest, who: Visitor, case_id: int) -> HttpResponse:
    """Answer the customer: keep the case open, resolve it, or resolve it and go on to the next one."""
    case_lists.own(who.project.pk, case_id)
    then = request.POST.get("then", "next")
    form = ResolveForm(request.POST, who=who, keeps_open=then == "open")
    if not form.is_valid():
        case = case_lists.own(who.project.pk, case_id)
        return case_page.show(request, who, Shown(view_of(request), case, form, status=422))
    if form.cleaned_data["block_model"] and not who.roles & LEADS:
        raise PermissionDenied(_("Only a lead or an admin takes a model version out of service."))
    following = _after(who, view_of(request), case_id)
    try:
        _answer(_hand(request, who, case_id), form)
    except Problem as problem:
        return _refused(request, who, case_id, problem, form)
    return _onward(request, who, case_id, then, following)


def _answer(hand: Hand, form: ResolveForm) -> None:
    if form.keeps_open:
        case_resolving.reply(hand, text=form.cleaned_data["reply"])
    else:
        case_resolving.resolve(hand, how=form.resolution())


def _onward(request: HttpRequest, who: Visitor, case_id: int, then: str, following: int | None) -> HttpResponse:
    view = view_of(request)
    if then == "open":
        messages.success(request, _("Sent. The case stays open."))
        return redirect(url("case", who, view, case_id))
    messages.success(
        request, _("Resolved: %(case)s.") % {"case": case_page.subject(case_lists.own(who.project.pk, case_id))}
    )
    if then == "stay":
        return redirect(url("case", who, view, case_id))
    return redirect(url("case", who, view, following) if following else url("cases", who, view))


def _after(who: Visitor, view: str, case_id: int) -> int | None:
    """The next case down the list, else the first of what remains."""
    ids = list(
        case_lists.in_view(who.project.pk, who.user.pk, view).values_list("pk", flat=True)[: case_lists.PAGE_SIZE * 4]
    )
    later = ids[ids.index(case_id) + 1 :] if case_id in ids else ids
    return next(iter(later or [i for i in ids if i != case_id]), None)


@page(*AGENTS)
@require_POST
def batch(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Several cases at once: first what would happen, then, when it is confirmed, doing it."""
    view, versions, act = view_of(request), _versions(request), _act(request, who)
    if not versions or act is None:
        messages.warning(request, _("Choose the cases and what to do with them."))
        return redirect(url("cases", who, view))
    if "confirmed" not in request.POST:
        return case_page.show(request, who, Shown(view, None, preview=_preview(request, who, versions, act)))
    try:
        done = case_batches.act_on(project_id=who.project.pk, agent_id=who.user.pk, versions=versions, act=act)
    except Problem as problem:
        messages.warning(request, problem.detail)
        return redirect(url("cases", who, view))
    return redirect(case_page.batch_url(who, view, done))


def _versions(request: HttpRequest) -> dict[int, int]:
    pairs = [p.partition(":")[::2] for p in request.POST.getlist("case")[: case_batches.LIMIT]]
    return {int(a[:18]): int(b[:9]) for a, b in pairs if a.isascii() and b.isascii() and a.isdigit() and b.isdigit()}


def _act(request: HttpRequest, who: Visitor) -> Act | None:
    """ "assign", "release", "level-urgent", "snooze-tomorrow": as the buttons name them."""
    name, _dash, value = request.POST.get("act", "").partition("-")
    if name == "snooze":
        pause = _pause(who, value)
        return Act("snooze", until=pause.until) if pause else None
    if name == "level":
        return Act("level", level=value) if value in LEVEL_NAMES else None
    return Act(name) if name in ("assign", "release") else None


def _preview(request: HttpRequest, who: Visitor, versions: dict[int, int], act: Act) -> dict[str, object]:
    """What would happen: the cases that would change, and those that have changed since they were chosen."""
    found = case_lists.in_project(who.project.pk).filter(pk__in=versions).order_by("standing", "pk")
    words = {
        "assign": lambda: _("Assign to me"), "release": lambda: _("Give back"),
        "level": lambda: _("Set the priority to %(level)s") % {"level": LEVEL_NAMES[act.level]},
        "snooze": lambda: _("Set aside"),
    }[act.action]()  # fmt: skip
    fresh = [c for c in found if c.version == versions[c.pk] and c.state == "open"]
    return {
        "title": ngettext("%(words)s: %(n)d case", "%(words)s: %(n)d cases", len(fresh)) % {"words": words, "n": len(fresh)},
        "act": request.POST["act"], "until": act.until,
        "cases": [{"case": c, "subject": case_page.subject(c), "level": LEVEL_NAMES[c.level]} for c in fresh],
        "overtaken": [{"case": c, "subject": case_page.subject(c)} for c in found if c not in fresh],
    }  # fmt: skip


@page(*AGENTS)
@require_POST
def undo_batch(request: HttpRequest, who: Visitor, batch_id: int) -> HttpResponse:
    """Take back what was done to several cases."""
    try:
        restored, left = case_batches.undo(project_id=who.project.pk, agent_id=who.user.pk, batch_id=batch_id)
    except Problem as problem:
        if problem.status == 404:
            raise Http404(problem.detail) from problem
        messages.warning(request, problem.detail)
        return redirect(url("cases", who, view_of(request)))
    n = len(restored)
    messages.success(request, ngettext("Taken back: %(n)d case.", "Taken back: %(n)d cases.", n) % {"n": n})
    if left:
        messages.warning(
            request,
            ngettext(
                "%(n)d case was left alone: somebody has changed it since.",
                "%(n)d cases were left alone: somebody has changed them since.",
                len(left),
            )
            % {"n": len(left)},
        )
    return redirect(url("cases", who, view_of(request)))
