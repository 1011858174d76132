"""The page on which leads invite people and say what each may do."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from feedback import people
from feedback.forms import PersonForm
from feedback.models import Membership, Role, User
from feedback.pages import told, tried
from feedback.people import Newcomer
from feedback.problems import Problem
from feedback.visits import LEADS, ROLE_NAMES, Visitor, page


@page(*LEADS)
def members(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Everybody with a role here; inviting somebody shows their one-time link, once."""
    form = PersonForm(request.POST or None, grantable=people.grantable(who))
    link: dict[str, Any] = {}
    if request.method == "POST" and form.is_valid():
        v = form.cleaned_data
        new = Newcomer(v["username"], v["first_name"], v["email"], frozenset(v["roles"]))
        try:
            user, fresh = people.invite(by=who, new=new)
        except Problem as problem:
            form.add_error(problem.field if problem.field in form.fields else None, told(problem))
        else:
            form = PersonForm(grantable=people.grantable(who))
            link = _link(request, who, user) if fresh else {}
            messages.success(request, _("%(name)s belongs to the desk now.") % {"name": user.username})
    return _page(request, who, form, link, status=422 if form.errors else 200)


def _page(
    request: HttpRequest, who: Visitor, form: PersonForm, link: dict[str, Any], status: int = 200
) -> HttpResponse:
    roles: dict[User, set[str]] = defaultdict(set)
    for m in Membership.objects.filter(project=who.project).select_related("user").order_by("user__username"):
        roles[m.user].add(m.role)
    may, openable = people.grantable(who), people.may_invite_again(by=who, users=list(roles))
    rows = [
        {
            "user": user, "roles": [(r, ROLE_NAMES[Role(r)], r in held, r in may) for r in Role.values], "self": user == who.user,
            "fixed": Role.ADMIN in held and Role.ADMIN not in who.roles, "new": not user.has_usable_password(),
            "link": user.pk in openable,
        }
        for user, held in roles.items()
    ]  # fmt: skip
    context = {"project": who.project, "rows": rows, "form": form, "role_names": ROLE_NAMES, **link}
    response = render(request, "feedback/people.html", context, status=status)
    if link:
        # The page holds a secret: it is kept nowhere.
        response["Cache-Control"] = "no-store"
    return response


def _link(request: HttpRequest, who: Visitor, user: User) -> dict[str, Any]:
    parts = people.link_parts(by=who, user_id=user.pk)
    return {"link": request.build_absolute_uri(reverse("welcome", args=parts)), "link_for": user.username}


@page(*LEADS)
@require_POST
def member(request: HttpRequest, who: Visitor, user_id: int) -> HttpResponse:
    """Change what somebody may do, let them go, or make a new one-time link."""
    if not Membership.objects.filter(project=who.project, user_id=user_id).exists():
        raise Http404
    act, roles = request.POST.get("act", ""), request.POST.getlist("roles")
    if act == "link":
        user = User.objects.filter(pk=user_id).first()
        try:
            link = _link(request, who, user) if user else {}
        except Problem as problem:
            messages.warning(request, told(problem))
            link = {}
        return _page(request, who, PersonForm(grantable=people.grantable(who)), link)
    if act == "remove":
        roles = []
    elif not roles:
        messages.warning(request, _("Choose at least one role, or let the person go."))
        return redirect("people", slug=who.project.slug)
    tried(request, lambda: people.change_roles(by=who, user_id=user_id, roles=roles), _("Saved."))
    still = Membership.objects.filter(project=who.project, user=who.user, role__in=LEADS).exists()
    return redirect("people", slug=who.project.slug) if still else redirect("home")
