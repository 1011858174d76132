"""The topic map, and the page of one topic: what customers are saying, and what a lead does with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseNotModified
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from feedback import jobs
from feedback.models import Membership, User
from feedback.problems import Problem
from feedback.visits import EVERYBODY, LEADS, Visitor, page
from learning import topic_acts, topic_figures, topic_selectors
from learning.models import Topic
from learning.topic_tasks import KIND

MOST_IDS = 5000


class TopicForm(forms.Form):
    """What a person knows of a topic that no model does."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120, required=False)
    owner = forms.ModelChoiceField(User.objects.none(), label=gettext_lazy("Owner"), required=False)
    notes = forms.CharField(
        label=gettext_lazy("Notes"), max_length=4000, required=False, widget=forms.Textarea(attrs={"rows": 4})
    )

    def __init__(self, *args: Any, project_id: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        owner = self.fields["owner"]
        assert isinstance(owner, forms.ModelChoiceField)
        held = Membership.objects.filter(project_id=project_id).values("user_id")
        owner.queryset = User.objects.filter(pk__in=held).order_by("username")
        owner.empty_label = _("nobody")

    def fields_given(self) -> dict[str, Any]:
        owner = self.cleaned_data["owner"]
        return {
            "name": self.cleaned_data["name"].strip(), "notes": self.cleaned_data["notes"].strip(),
            "owner_id": owner.pk if owner else None,
        }  # fmt: skip


@never_cache
@page(*EVERYBODY)
def topics(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The map with its table; `?map=` names one of several (each encoder has its own)."""
    return render(request, "learning/topics.html", topic_figures.overview(who, request.GET.get("map", "")))


@page(*EVERYBODY)
def points(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The points of a map (learning.topic_selectors.points), or 304 where nothing has changed since the caller's ETag."""
    chosen = topic_figures.chosen_map(who.project.pk, request.GET.get("map", ""))
    if chosen is None:
        raise Http404(_("There is no map of topics yet."))
    etag = topic_selectors.points_etag(project_id=who.project.pk, encoder_sha=chosen.encoder_sha)
    if etag in request.headers.get("If-None-Match", ""):
        response: HttpResponse = HttpResponseNotModified()
    else:
        body = topic_selectors.points(project_id=who.project.pk, encoder_sha=chosen.encoder_sha)
        response = HttpResponse(body, content_type="application/octet-stream")
    response["ETag"] = etag
    response["Cache-Control"] = "private, no-cache"
    return response


@never_cache
@page(*EVERYBODY)
def topic_page(request: HttpRequest, who: Visitor, topic: int) -> HttpResponse:
    """One topic; the number of an absorbed one leads to its heir."""
    found = _living(who, topic)
    if found.number != topic:
        return redirect("topic-page", who.project.slug, found.number)
    return _render_topic(request, who, found)


def _render_topic(
    request: HttpRequest, who: Visitor, found: Topic, form: TopicForm | None = None, status: int = 200
) -> HttpResponse:
    initial = {"name": found.name, "notes": found.notes, "owner": found.owner_id}
    context = topic_figures.detail(who, found)
    context["form"] = form or TopicForm(project_id=who.project.pk, initial=initial)
    return render(request, "learning/topic.html", context, status=status)


def _living(who: Visitor, number: int) -> Topic:
    try:
        return topic_acts.living(project_id=who.project.pk, number=number)
    except Problem as problem:
        raise Http404(_("There is no such topic in this project.")) from problem


@page(*LEADS)
@require_POST
def run(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Find topics now."""
    jobs.enqueue(kind=KIND, project_id=who.project.pk, params={"refit": request.POST.get("refit") == "yes"})
    messages.success(request, _("Asked for. The map follows when the search is done."))
    return redirect("topic-map", who.project.slug)


@page(*LEADS)
@require_POST
def label(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Send the texts that were picked on the map to labeling."""
    ids = [int(i) for i in request.POST.get("members", "").split(",") if i.isdigit()][:MOST_IDS]

    def send() -> None:
        sent = topic_acts.send_to_labeling(project_id=who.project.pk, members=ids, by=who.user.pk)
        messages.success(request, _sent(sent))

    return _done(request, send, "topic-map", who.project.slug)


@page(*LEADS)
@require_POST
def act(request: HttpRequest, who: Visitor, topic: int, act: str) -> HttpResponse:
    """Change, pin, mute, merge, split, send to labeling, or make a category of a topic."""
    found = _living(who, topic)
    if act not in ACTS:
        raise Http404(_("There is no such act."))
    if act == "change":
        form = TopicForm(request.POST, project_id=who.project.pk)
        if not form.is_valid():
            return _render_topic(request, who, found, form, status=422)
    back = "topic-map" if request.POST.get("back") == "map" else "topic-page"
    where = [who.project.slug] if back == "topic-map" else [who.project.slug, found.number]
    return _done(request, lambda: ACTS[act](request, who, found), back, *where)


def _done(request: HttpRequest, deed: Callable[[], Any], *where: Any) -> HttpResponse:
    try:
        deed()
    except Problem as problem:
        messages.warning(request, problem.detail)
    return redirect(*where)


def _change(request: HttpRequest, who: Visitor, topic: Topic) -> None:
    form = TopicForm(request.POST, project_id=who.project.pk)
    form.full_clean()
    topic_acts.change(project_id=who.project.pk, number=topic.number, fields=form.fields_given(), by=who.user.pk)
    messages.success(request, _("Kept."))


def _switch(field: str, on: bool) -> Callable[[HttpRequest, Visitor, Topic], None]:
    def act(request: HttpRequest, who: Visitor, topic: Topic) -> None:
        topic_acts.change(project_id=who.project.pk, number=topic.number, fields={field: on}, by=who.user.pk)

    return act


def _merge(request: HttpRequest, who: Visitor, topic: Topic) -> None:
    into = request.POST.get("into", "")
    if not into.isdigit():
        raise Problem(422, "invalid-field", _("Choose the topic that it belongs to."), field="into")
    topic_acts.merge(project_id=who.project.pk, number=topic.number, into=int(into), by=who.user.pk)
    messages.success(request, _("Merged. Its texts belong to this topic now."))


def _split(request: HttpRequest, who: Visitor, topic: Topic) -> None:
    topic_acts.split(project_id=who.project.pk, number=topic.number, by=who.user.pk)
    messages.success(request, _("Asked for. The new topic appears when the split is done."))


def _label(request: HttpRequest, who: Visitor, topic: Topic) -> None:
    sent = topic_acts.send_to_labeling(project_id=who.project.pk, number=topic.number, by=who.user.pk)
    messages.success(request, _sent(sent))


def _sent(sent: int) -> str:
    if not sent:
        return _("Nothing to send: these texts have labels, or are kept for testing.")
    return ngettext(
        "%(n)s inquiry is first in the queue now.", "%(n)s inquiries are first in the queue now.", sent
    ) % {"n": sent}  # fmt: skip


def _category(request: HttpRequest, who: Visitor, topic: Topic) -> None:
    given = {name: request.POST.get(name, "").strip() for name in ("key", "name", "description")}
    topic_acts.make_category(project_id=who.project.pk, number=topic.number, **given, by=who.user.pk)
    messages.success(
        request, _("The category is there. Its texts wait in the queue: models learn it from their labels.")
    )


ACTS: dict[str, Callable[[HttpRequest, Visitor, Topic], None]] = {
    "change": _change, "pin": _switch("pinned", True), "unpin": _switch("pinned", False), "mute": _switch("muted", True),
    "unmute": _switch("muted", False), "merge": _merge, "split": _split, "label": _label, "category": _category,
}  # fmt: skip
