"""Who works on a desk: inviting people, their roles, and letting them go.

A lead gives every role but admin and does not touch an admin's; an admin gives all. A desk always keeps somebody who leads it.
The link that lets a person choose a password works once and for three days; it is made for people only whom the inviter is
responsible for everywhere, so that nobody gets into an account that also belongs to a desk of others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from feedback.models import Membership, Project, Role, User
from feedback.problems import Problem, invalid, not_found
from feedback.visits import LEADS, Visitor

LED = frozenset({Role.ANNOTATOR, Role.EXPERT, Role.AGENT, Role.LEAD})


@dataclass(frozen=True)
class Newcomer:
    """A person as a lead describes them."""

    username: str
    first_name: str = ""
    email: str = ""
    roles: frozenset[str] = frozenset()


def grantable(who: Visitor) -> frozenset[str]:
    """The roles that a visitor may give and take."""
    return frozenset(Role.values) if Role.ADMIN in who.roles else frozenset(LED)


def invite(*, by: Visitor, new: Newcomer) -> tuple[User, bool]:
    """Give a person roles; an unknown one gets an account. True where they still have to choose a password."""
    if not new.roles:
        raise invalid("roles", "Choose at least one role.")
    _must_be_allowed(by, new.roles)
    with transaction.atomic():
        user, made = User.objects.get_or_create(
            username=new.username, defaults={"first_name": new.first_name, "email": new.email}
        )
        if made:
            user.set_unusable_password()
        if not user.is_active:
            user.set_unusable_password()
            user.is_active = True
        user.save()
        for role in new.roles:
            Membership.objects.get_or_create(user=user, project=by.project, role=role)
    return user, not user.has_usable_password()


def change_roles(*, by: Visitor, user_id: int, roles: Iterable[str]) -> None:
    """The person has exactly these roles from now on; without any they no longer belong to the desk."""
    wanted = frozenset(roles)
    with transaction.atomic():
        Project.objects.select_for_update(no_key=True).get(pk=by.project.pk)
        held = _roles_of(by.project.pk, user_id)
        if not held:
            raise not_found("person")
        _must_be_allowed(by, held ^ wanted)
        if Role.ADMIN in held and Role.ADMIN not in by.roles:
            raise Problem(403, "missing-role", "Only an admin changes what another admin may do.")
        rows = Membership.objects.filter(project=by.project, user_id=user_id)
        rows.exclude(role__in=wanted).delete()
        for role in wanted - held:
            Membership.objects.create(project=by.project, user_id=user_id, role=role)
        if not Membership.objects.filter(project=by.project, role__in=LEADS, user__is_active=True).exists():
            raise Problem(409, "last-lead", "A desk needs somebody who leads it. Give another person the role first.")
        if not wanted:
            _close_unused(user_id)


def _close_unused(user_id: int) -> None:
    """Who belongs to no desk any more can no longer sign in."""
    unused = User.objects.filter(pk=user_id, is_superuser=False).exclude(pk__in=Membership.objects.values("user_id"))
    unused.update(is_active=False)


def _roles_of(project_id: int, user_id: int) -> frozenset[str]:
    return frozenset(Membership.objects.filter(project_id=project_id, user_id=user_id).values_list("role", flat=True))


def _must_be_allowed(by: Visitor, roles: frozenset[str]) -> None:
    if unknown := sorted(roles - set(Role.values)):
        raise invalid("roles", f"There is no role {unknown[0]!r}.")
    if roles - grantable(by):
        raise Problem(403, "missing-role", "Only an admin gives or takes the role admin.", field="roles")


def may_invite_again(*, by: Visitor, users: Collection[User]) -> set[int]:
    """Those for whom the visitor may make a link that opens their account: they lead every desk of that person."""
    led = set(Membership.objects.filter(user=by.user, role__in=LEADS).values_list("project_id", flat=True))
    theirs: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for user_id, project_id, role in Membership.objects.filter(user__in=users).values_list(
        "user_id", "project_id", "role"
    ):
        theirs[user_id].append((project_id, role))
    over_admins = Role.ADMIN in by.roles
    return {
        user.pk
        for user in users
        if user.is_active and not (user.is_superuser or user.is_staff) and theirs[user.pk]
        and all(project_id in led and (over_admins or role != Role.ADMIN) for project_id, role in theirs[user.pk])
    }  # fmt: skip


def link_parts(*, by: Visitor, user_id: int) -> tuple[str, str]:
    """The two parts of a one-time link with which a person chooses a password."""
    if not _roles_of(by.project.pk, user_id):
        raise not_found("person")
    user = User.objects.get(pk=user_id)
    if user.pk not in may_invite_again(by=by, users=[user]):
        raise Problem(
            403, "not-yours-alone", "This person also belongs to a desk that you do not lead. Ask its lead for a link."
        )
    return urlsafe_base64_encode(force_bytes(user.pk)), default_token_generator.make_token(user)
