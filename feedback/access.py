"""Which project a caller may see: a key's own, or those that a person is a member of. Others do not exist for them."""

from __future__ import annotations

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from feedback.keys import Principal
from feedback.models import Membership, Project, Role, User
from feedback.problems import Problem, not_found


class IsPerson(BasePermission):
    """People's work is not for an app's key."""

    message = "Sign in as a person: an app's key cannot do this."

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.user, User) and request.user.is_active


def project_for(user: User, slug: str | None) -> Project:
    """The named project of a person, or their first."""
    held = Membership.objects.filter(user=user).values("project_id")
    mine = Project.objects.filter(pk__in=held, archived_at=None).order_by("pk")
    found = mine.filter(slug=slug).first() if slug is not None else mine.first()
    if found is None:
        raise not_found("project")
    return found


LEADS = frozenset({Role.LEAD, Role.ADMIN})


def managed_project(request: Request, *, scope: str) -> Project:
    """The same as `readable_project`, for what changes how a project runs: a person needs the role lead or admin there."""
    project = readable_project(request, scope=scope)
    if isinstance(request.user, User):
        held = Membership.objects.filter(user=request.user, project=project, role__in=LEADS)
        if not held.exists():
            raise Problem(403, "missing-role", "This needs the role lead or admin. Ask an admin of the project for it.")
    return project


def readable_project(request: Request, *, scope: str) -> Project:
    """The project of a key that has `scope`, or the one that a signed-in person names in `?project=`."""
    slug = request.query_params.get("project")
    if isinstance(request.user, Principal):
        request.user.require(scope)
        request.user.require_project(slug)
        return Project.objects.get(pk=request.user.project_id)
    if isinstance(request.user, User):
        return project_for(request.user, slug)
    raise Problem(401, "not-authenticated", "Sign in or send a key.")


def name_of(request: Request) -> str:
    """Who acts, as it is kept with what they did: the key's name or the user's."""
    return request.user.name if isinstance(request.user, Principal) else request.user.get_username()
