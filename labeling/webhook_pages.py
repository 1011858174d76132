"""The page of webhooks, for leads and admins: who is told what, what could not be delivered, and sending it again."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from feedback import webhooks
from feedback.models import Notice, NoticeState, Role, Webhook
from feedback.problems import Problem
from labeling.access import Visitor, page

SHOWN = 50


KIND_NAMES = {
    "drift.alarm": gettext_lazy("Customers or answers have changed beyond chance"),
    "escalation.breached": gettext_lazy("A case missed its target"),
    "escalation.opened": gettext_lazy("A customer waits for a person"),
    "escalation.replied": gettext_lazy("An agent replied"),
    "escalation.resolved": gettext_lazy("A case was resolved"),
    "guard.alarm": gettext_lazy("The loop needs a look: it may feed on itself"),
    "inquiry.resolved": gettext_lazy("An inquiry was answered"),
    "label.resolved": gettext_lazy("A label was settled"),
    "label.withdrawn": gettext_lazy("A label was withdrawn"),
    "model.promoted": gettext_lazy("A model version went live"),
    "rollout.rolled_back": gettext_lazy("A model version on trial was rolled back"),
    "model.staged": gettext_lazy("A model version waits for approval"),
    "topic.born": gettext_lazy("Customers talk about something new"),
}


class WebhookForm(forms.Form):
    """Where to, and about what."""

    url = forms.CharField(
        label=gettext_lazy("Address"), max_length=2000, widget=forms.URLInput(attrs={"placeholder": "https://"}),
        error_messages={"required": gettext_lazy("Write the address that is to be told.")},
    )  # fmt: skip
    kinds = forms.MultipleChoiceField(
        label=gettext_lazy("Events"), widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one event.")},
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["kinds"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(kind, KIND_NAMES.get(kind, kind)) for kind in sorted(webhooks.kinds)]


@never_cache
@page(Role.LEAD, Role.ADMIN)
def webhook_list(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The list; a POST adds a webhook and shows its secret, this once."""
    if request.method != "POST":
        return _render(request, who, WebhookForm())
    form = WebhookForm(request.POST)
    if not form.is_valid():
        return _render(request, who, form, status=422)
    try:
        made, secret = webhooks.create(
            project_id=who.project.pk, url=form.cleaned_data["url"], kinds_told=form.cleaned_data["kinds"]
        )
    except Problem as problem:
        form.add_error("url", problem.detail)
        return _render(request, who, form, status=problem.status)
    return _render(request, who, WebhookForm(), shown=(made, secret), status=201)


@never_cache
@page(Role.LEAD, Role.ADMIN)
@require_POST
def webhook_action(request: HttpRequest, who: Visitor, webhook_id: int, action: str) -> HttpResponse:
    """Pause, go on, rotate, replay or remove."""
    project_id = who.project.pk
    try:
        if action == "rotate":
            return _render(
                request, who, WebhookForm(), shown=webhooks.rotate_secret(project_id=project_id, webhook_id=webhook_id)
            )
        if action == "remove":
            webhooks.own(project_id=project_id, webhook_id=webhook_id).delete()
            messages.success(request, _("Removed."))
        elif action == "replay":
            again = webhooks.replay(project_id=project_id, webhook_id=webhook_id)
            messages.success(request, _("%(count)s notices will be sent again.") % {"count": again})
        elif action in ("pause", "resume"):
            webhooks.set_active(project_id=project_id, webhook_id=webhook_id, active=action == "resume")
        else:
            raise Http404
    except Problem as problem:
        if problem.status == 404:
            raise Http404(problem.detail) from problem
        messages.warning(request, problem.detail)
    return redirect("webhook-list", slug=who.project.slug)


@page(Role.LEAD, Role.ADMIN)
@require_POST
def notice_replay(request: HttpRequest, who: Visitor, notice_id: int) -> HttpResponse:
    """Send one notice again."""
    if not Notice.objects.filter(pk=notice_id, webhook__project=who.project).exists():
        raise Http404
    again = webhooks.replay(project_id=who.project.pk, notice_id=notice_id)
    messages.success(request, _("%(count)s notices will be sent again.") % {"count": again})
    return redirect("webhook-list", slug=who.project.slug)


def _render(
    request: HttpRequest, who: Visitor, form: WebhookForm, shown: tuple[Webhook, str] | None = None, status: int = 200
) -> HttpResponse:
    waiting = Count("notices", filter=Q(notices__state=NoticeState.PENDING))
    dead = Count("notices", filter=Q(notices__state=NoticeState.DEAD))
    notices = Notice.objects.filter(webhook__project=who.project).select_related("webhook").order_by("-pk")
    context = {
        "project": who.project, "form": form, "shown": shown, "notices": notices[:SHOWN],
        "webhooks": Webhook.objects.filter(project=who.project).annotate(waiting=waiting, dead=dead).order_by("pk"),
    }  # fmt: skip
    return render(request, "labeling/webhooks.html", context, status=status)
