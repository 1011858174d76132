"""The replies of a project: what can be sent in each category and language, how it is received, and what chooses among it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from feedback import administration
from feedback.forms import ReplyForm, mark_faults
from feedback.gaps import gaps_of, stray_braces
from feedback.models import Category, Inquiry, Reply
from feedback.problems import Problem
from feedback.visits import LEADS, Visitor, page
from labeling import comparing
from learning import comparisons
from serving import policies, policies_api, policy_trials
from serving.models import PolicyTrial, PolicyVersion, ReplyShown

# Filled by the console from the case; the others come with an inquiry's metadata.
CONSOLES = frozenset({"customer", "agent", "reference"})
LOOKED_AT = 1_000  # inquiries, newest first, whose metadata say which gaps can be filled
VERSIONS = 20


class WriteForm(ReplyForm):
    """A reply for a category, with the last day on which it is offered."""

    category = forms.ModelChoiceField(Category.objects.none(), label=gettext_lazy("Category"))
    expires_on = forms.DateField(
        label=gettext_lazy("Last day"), required=False, widget=forms.DateInput(attrs={"type": "date"}),
        help_text=gettext_lazy("The reply is offered to the end of this day (UTC); empty: for good."),
    )  # fmt: skip
    slot = forms.IntegerField(required=False, min_value=1, max_value=999, widget=forms.HiddenInput)
    field_order = ("category", "locale", "text", "expires_on", "slot")

    def __init__(self, who: Visitor, *args: Any, **kwargs: Any) -> None:
        forms.Form.__init__(self, *args, **kwargs)
        field = self.fields["category"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Category.objects.filter(project=who.project, archived_at=None)
        language = get_language() or "en"
        field.label_from_instance = lambda c: str(c.name_in(language))  # type: ignore[method-assign,assignment]
        mark_faults(self)  # checks a bound form, which needs to know the categories

    def clean_text(self) -> str:
        text = str(self.cleaned_data["text"])
        if wrong := stray_braces(text):
            raise ValidationError(_("%(piece)s is no gap. Write a gap as {order}.") % {"piece": wrong})
        return text

    def clean_expires_on(self) -> Any:
        day = self.cleaned_data["expires_on"]
        if day is not None and day < timezone.now().date():
            raise ValidationError(_("That day has passed."))
        return day

    @property
    def expires_at(self) -> datetime | None:
        day = self.cleaned_data["expires_on"]
        return None if day is None else timezone.make_aware(datetime.combine(day + timedelta(days=1), time()))


@page(*LEADS)
def replies(request: HttpRequest, who: Visitor) -> HttpResponse:
    """All replies by category and language, the policy that chooses among them, and comparisons; a new reply by POST."""
    form = WriteForm(who, request.POST or None)
    if request.method == "POST" and form.is_valid():
        v = form.cleaned_data
        done = _tried(
            request,
            lambda: administration.write_reply(
                project_id=who.project.pk, category_id=v["category"].pk, locale=v["locale"], text=v["text"],
                slot=v["slot"], expires_at=form.expires_at,
            ),
            _("Saved. A policy takes it in with its next learning.") if v["slot"] is None else _("Saved as a new version."),
        )  # fmt: skip
        if done:
            return redirect("replies", who.project.slug)
    return _render(request, who, form, 422 if form.errors else 200)


def _render(request: HttpRequest, who: Visitor, form: WriteForm, status: int = 200) -> HttpResponse:
    pk = who.project.pk
    versions = list(PolicyVersion.objects.filter(project=pk).select_related("parent").order_by("-number")[:VERSIONS])
    context = {
        "project": who.project, "form": form, "groups": groups(who), "versions": [_version(v) for v in versions],
        "serving": any(v.stage == "production" for v in versions), "trials": _trials(pk),
        "compared": comparing.progress(project_id=pk), "waiting": comparing.waiting(project_id=pk),
        "asked_people": ReplyShown.objects.filter(policy__project=pk, reply=None).count(),
    }  # fmt: skip
    return render(request, "learning/replies.html", context, status=status)


def groups(who: Visitor) -> list[dict[str, Any]]:
    """Active replies by category and language, each with how it was received and what may be wrong with it."""
    received = {r["reply"]: r for r in policies_api.received(project_id=who.project.pk)}
    known, now, language = _known_gaps(who.project.pk), timezone.now(), get_language() or "en"
    rows = Reply.objects.filter(project=who.project, active=True, category__archived_at=None)
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for r in rows.select_related("category").order_by("category__position", "category_id", "locale", "slot"):
        group = found.setdefault(
            (r.category_id, r.locale),
            {"name": r.category.name_in(language), "category": r.category, "locale": r.locale, "replies": []},
        )
        group["replies"].append({
            "reply": r, "gaps": gaps_of(r.text), "unknown": [g for g in gaps_of(r.text) if g not in known | CONSOLES],
            "expired": r.expires_at is not None and r.expires_at <= now, "last_day": _last_day(r),
            "received": _percents(received.get(r.pk)),
        })  # fmt: skip
    return list(found.values())


def _last_day(reply: Reply) -> Any:
    return None if reply.expires_at is None else (reply.expires_at - timedelta(seconds=1)).date()


def _percents(received: dict[str, Any] | None) -> dict[str, Any] | None:
    if received is None:
        return None
    shares = {
        k: 100 * received[k] if received[k] is not None else None for k in ("approval", "low", "high", "corrected")
    }
    return {**received, **shares, "votes": received["ups"] + received["downs"]}


def _known_gaps(project_id: int) -> frozenset[str]:
    """Gaps that the metadata of the newest inquiries would have filled."""
    newest = Inquiry.objects.filter(project=project_id).exclude(metadata={}).order_by("-received_at")
    return frozenset(key for m in newest.values_list("metadata", flat=True)[:LOOKED_AT] for key in m)


def _version(v: PolicyVersion) -> dict[str, Any]:
    failed = next((g for g in v.gates if not g["passed"]), None)
    gain = v.metrics.get("gain")
    return {
        "v": v,
        "failed": failed,
        "gain": None if not gain else {k: 100 * gain[k] for k in ("value", "low", "high")},
    }


def _trials(project_id: int) -> list[PolicyTrial]:
    return list(PolicyTrial.objects.filter(project=project_id, state="running").select_related("candidate", "control"))


@page(*LEADS)
@require_POST
def reply_act(request: HttpRequest, who: Visitor, act: str) -> HttpResponse:
    """Retire a reply, have comparisons made, put the earlier policy back, or end a trial."""
    pk, number = who.project.pk, _number(request.POST.get("number", ""))
    acts: dict[str, tuple[Callable[[], object], str]] = {
        "retire": (lambda: administration.retire_reply(project_id=pk, reply_id=number), _("Retired.")),
        "compare": (
            lambda: comparisons.ask(project_id=pk, count=number or comparisons.COUNT),
            _("Comparisons are being made. They appear on the page “Compare replies”."),
        ),
        "rollback": (lambda: _rollback(pk, number), _("The earlier policy chooses again.")),
        "abort": (
            lambda: policy_trials.abort(project_id=pk, trial_id=number, by=who.user.get_username()),
            _("The trial has ended; what chose before goes on."),
        ),
    }  # fmt: skip
    if act in acts:
        _tried(request, *acts[act])
    return redirect("replies", who.project.slug)


def _rollback(project_id: int, number: int) -> None:
    version = PolicyVersion.objects.filter(project=project_id, number=number).first()
    if version is None:
        raise Problem(404, "not-found", _("There is no such policy in this project."))
    policies.rollback(project_id=project_id, encoder_sha=version.encoder_sha)


def _number(given: str) -> int:
    return int(given[:9]) if given.isascii() and given.isdigit() else 0


def _tried(request: HttpRequest, act: Callable[[], object], done: str) -> bool:
    try:
        act()
    except Problem as problem:
        messages.warning(request, problem.detail)
        return False
    messages.success(request, done)
    return True
