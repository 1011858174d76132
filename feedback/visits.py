"""Which project a page is about, and whether the person who asks may see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from feedback.models import Membership, Project, Role, User

ROLE_NAMES = {
    Role.ANNOTATOR: gettext_lazy("Annotator"),
    Role.EXPERT: gettext_lazy("Expert"),
    Role.AGENT: gettext_lazy("Support agent"),
    Role.LEAD: gettext_lazy("Lead"),
    Role.ADMIN: gettext_lazy("Admin"),
}
EVERYBODY = frozenset(Role.values)
LABELERS = frozenset({Role.ANNOTATOR, Role.EXPERT})
AGENTS = frozenset({Role.AGENT, Role.LEAD, Role.ADMIN})
LEADS = frozenset({Role.LEAD, Role.ADMIN})


@dataclass(frozen=True)
class Visitor:
    """A signed-in person in one of their projects."""

    user: User
    project: Project
    roles: frozenset[str]

    @property
    def language(self) -> str:
        return str(self.user.preferences.get("language") or "")


def visitor(request: HttpRequest, slug: str, *, archived: bool = False) -> Visitor:
    """Raises 404 for a project that is not theirs, exactly as for one that does not exist or (mostly) is archived."""
    assert isinstance(request.user, User)
    rows = Membership.objects.filter(user=request.user, project__slug=slug).select_related("project")
    found = [m for m in rows if archived or m.project.archived_at is None]
    if not found:
        raise Http404(_("There is no such project, or you are not a member of it."))
    return Visitor(request.user, found[0].project, frozenset(m.role for m in found))


View = Callable[..., HttpResponseBase]


def page(*roles: str, archived: bool = False) -> Callable[[View], View]:
    """A view `(request, visitor, …)` under `/p/<slug>/`, for people who have one of `roles` there; else 403 naming it.

    With `archived` it also opens for an archived project.
    """

    def decorate(view: View) -> View:
        @login_required
        @wraps(view)
        def guarded(request: HttpRequest, slug: str, *args: Any, **kwargs: Any) -> HttpResponseBase:
            who = visitor(request, slug, archived=archived)
            if not who.roles & set(roles):
                raise PermissionDenied(missing(roles, who.project))
            return view(request, who, *args, **kwargs)

        return guarded

    return decorate


def missing(roles: tuple[str, ...], project: Project) -> str:
    names = [str(ROLE_NAMES[Role(r)]) for r in Role.values if r in roles]
    return _("This page needs one of these roles in %(project)s: %(roles)s. A lead of the project can give it.") % {
        "project": project.name,
        "roles": ", ".join(names),
    }
