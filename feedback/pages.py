"""The pages on which leads set their desk up: settings, categories with guidelines and replies, and the list of desks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from feedback import administration
from feedback.forms import CategoryForm, NewProjectForm, ReplyForm, SettingsForm, key_of
from feedback.models import Category, Membership, Project, Reply, Role, User
from feedback.problems import Problem
from feedback.services import add_categories, create_project
from feedback.visits import LEADS, Visitor, page

OVERTAKEN = "overtaken"


def told(problem: Problem) -> str:
    """A refusal in the reader's language."""
    known = {
        OVERTAKEN: _(
            "Somebody has changed this since you opened it. It is shown as it is now; nothing of yours was saved."
        ),
        "last-category": _("A desk needs a category. Add another one first."),
        "last-lead": _("A desk needs somebody who leads it. Give another person the role first."),
        "not-yours-alone": _("This person also belongs to a desk that you do not lead. Ask its lead for a link."),
        "missing-role": _("Only an admin gives or takes the role admin, or changes what an admin may do."),
    }
    return known.get(problem.kind, problem.detail)


def tried(request: HttpRequest, act: Callable[[], object], done: str) -> bool:
    """Do it and say so, or say why not."""
    try:
        act()
    except Problem as problem:
        messages.warning(request, told(problem))
        return False
    messages.success(request, done)
    return True


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


@login_required
def projects(request: HttpRequest) -> HttpResponse:
    """The desks that a person belongs to; who is an admin anywhere makes new ones."""
    user = _user(request)
    may_create = user.is_superuser or Membership.objects.filter(user=user, role=Role.ADMIN).exists()
    form = NewProjectForm(request.POST or None)
    if request.method == "POST":
        if not may_create:
            raise PermissionDenied(_("Only an admin makes new projects."))
        if form.is_valid():
            made = _create(user, form)
            messages.success(request, _("“%(name)s” is ready. Invite the people who work on it.") % {"name": made.name})
            return redirect("people", slug=made.slug)
    held = Membership.objects.filter(user=user).select_related("project").order_by("project__name")
    rows = {m.project: sorted({h.role for h in held if h.project_id == m.project_id}) for m in held}
    shown = [(p, roles) for p, roles in rows.items() if p.archived_at is None or set(roles) & LEADS]
    context = {"rows": shown, "form": form, "may_create": may_create}
    return render(request, "feedback/projects.html", context, status=422 if form.errors else 200)


def _create(user: User, form: NewProjectForm) -> Project:
    v = form.cleaned_data
    with transaction.atomic():
        made = create_project(slug=v["slug"], name=v["name"], categories=v["categories"])
        for role in (Role.ADMIN, Role.LEAD):
            Membership.objects.create(user=user, project=made, role=role)
    return made


@page(*LEADS, archived=True)
def settings(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Thresholds, labeling, learning and scores, each with what it does."""
    form = SettingsForm(request.POST or None, instance=Project.objects.get(pk=who.project.pk))
    if request.method == "POST" and form.is_valid():
        fields = {k: v for k, v in form.cleaned_data.items() if k != "revision"}
        seen = form.cleaned_data["revision"]
        tried(
            request,
            lambda: administration.change_settings(project_id=who.project.pk, seen=seen, fields=fields),
            _("Saved."),
        )
        return redirect("settings", slug=who.project.slug)
    return render(
        request, "feedback/settings.html", {"project": who.project, "form": form}, status=422 if form.errors else 200
    )


@page(Role.ADMIN, archived=True)
@require_POST
def archive(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Put the project away, or bring it back."""
    on = request.POST.get("on") == "yes"
    administration.archive_project(project_id=who.project.pk, on=on)
    messages.success(
        request,
        _("Archived. Its keys stop working within seconds; nothing was deleted.") if on else _("The project is back."),
    )
    return redirect("projects") if on else redirect("settings", slug=who.project.slug)


@page(*LEADS)
def categories(request: HttpRequest, who: Visitor) -> HttpResponse:
    """All categories in the order of the desk's number keys; a new one at the end."""
    form = CategoryForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            taken = dict.fromkeys(Category.objects.filter(project=who.project).values_list("key", flat=True))
            key = key_of(form.cleaned_data["name"], taken)
            made = add_categories(project_id=who.project.pk, categories=[{"key": key, **form.as_fields({})}])[0]
        messages.success(request, _("“%(name)s” was added. Write its guideline.") % {"name": made.name})
        return redirect("category", slug=who.project.slug, category_id=made.pk)
    rows = [(c, c.name_in(get_language() or "en")) for c in Category.objects.filter(project=who.project)]
    context = {
        "project": who.project, "form": form, "used": [r for r in rows if r[0].archived_at is None],
        "archived": [r for r in rows if r[0].archived_at is not None],
    }  # fmt: skip
    return render(request, "feedback/categories.html", context, status=422 if form.errors else 200)


def _own(who: Visitor, category_id: int) -> Category:
    found = Category.objects.filter(pk=category_id, project=who.project).first()
    if found is None:
        raise Http404(_("There is no such category in this project."))
    return found


@page(*LEADS)
def category(request: HttpRequest, who: Visitor, category_id: int) -> HttpResponse:
    """One category: what it means, its guideline, its prepared replies."""
    found = _own(who, category_id)
    form = CategoryForm(request.POST) if request.method == "POST" else CategoryForm.of(found)
    if request.method == "POST" and form.is_valid():
        seen = int(request.POST["revision"]) if request.POST.get("revision", "").isdecimal() else 0
        fields = form.as_fields(found.names)
        tried(
            request,
            lambda: administration.change_category(
                project_id=who.project.pk, category_id=found.pk, seen=seen, fields=fields
            ),
            _("Saved. The model is taught the change."),
        )
        return redirect("category", slug=who.project.slug, category_id=found.pk)
    return _category_page(request, who, found, {"form": form})


def _category_page(request: HttpRequest, who: Visitor, found: Category, forms: dict[str, Any]) -> HttpResponse:
    replies = Reply.objects.filter(category=found, active=True).order_by("locale", "slot")
    context = {
        "project": who.project, "category": found, "name": found.name_in(get_language() or "en"), "replies": replies,
        "form": CategoryForm.of(found), "reply_form": ReplyForm(), **forms,
    }  # fmt: skip
    faulty = any(getattr(f, "errors", None) for f in forms.values())
    return render(request, "feedback/category.html", context, status=422 if faulty else 200)


@page(*LEADS)
@require_POST
def category_act(request: HttpRequest, who: Visitor, category_id: int) -> HttpResponse:
    """Move it, take it out of use, or bring it back."""
    found, act = _own(who, category_id), request.POST.get("act", "")
    own = {"project_id": who.project.pk, "category_id": found.pk}
    acts: dict[str, tuple[Callable[[], None], str]] = {
        "up": (lambda: administration.move_category(**own, by=-1), _("Moved.")),
        "down": (lambda: administration.move_category(**own, by=1), _("Moved.")),
        "archive": (
            lambda: administration.archive_category(**own, on=True),
            _("Out of use. Labels that name it stay."),
        ),
        "restore": (lambda: administration.archive_category(**own, on=False), _("In use again.")),
    }
    if act in acts:
        tried(request, *acts[act])
    return redirect("categories", slug=who.project.slug)


@page(*LEADS)
@require_POST
def reply(request: HttpRequest, who: Visitor, category_id: int) -> HttpResponse:
    """Add a prepared reply, write a new version of one, or retire one."""
    found = _own(who, category_id)
    if retired := request.POST.get("retire", ""):
        pk = int(retired[:18]) if retired.isdecimal() else 0
        tried(request, lambda: administration.retire_reply(project_id=who.project.pk, reply_id=pk), _("Retired."))
        return redirect("category", slug=who.project.slug, category_id=found.pk)
    form = ReplyForm(request.POST)
    if not form.is_valid():
        return _category_page(request, who, found, {"reply_form": form})
    given = request.POST.get("slot", "")
    slot = int(given) if given.isdecimal() and 0 < int(given[:6]) < 1_000 else None
    v = form.cleaned_data
    tried(
        request,
        lambda: administration.write_reply(
            project_id=who.project.pk, category_id=found.pk, locale=v["locale"], text=v["text"], slot=slot
        ),
        _("Saved."),
    )
    return redirect("category", slug=who.project.slug, category_id=found.pk)
