"""Inviting people, their roles, and links that work once."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.test import Client
from django.utils import translation

from feedback.models import Membership, Project, Role, User
from tests.conftest import make_person


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    with translation.override("en"):
        yield


@pytest.fixture
def lead(project: Project, client: Client) -> User:
    person = make_person(project, "lead", Role.LEAD)
    client.force_login(person)
    return person


def invite(client: Client, name: str, *roles: str) -> str:
    """The one-time link's path, where one is shown."""
    page = client.post("/p/shop/people", {"username": name, "roles": roles}).content.decode()
    found = re.search(r'value="http://testserver(/welcome/[^"]+)"', page)
    return found[1] if found else ""


def roles_of(name: str) -> set[str]:
    return set(Membership.objects.filter(user__username=name).values_list("role", flat=True))


def choose_password(link: str, password: str = "seven-lanterns-9") -> Client:
    stranger = Client()
    form = stranger.get(link, follow=True).redirect_chain[-1][0]
    stranger.post(form, {"new_password1": password, "new_password2": password})
    return stranger


def test_a_newcomer_chooses_a_password_by_a_link_that_works_once(client: Client, lead: User) -> None:
    link = invite(client, "nina", Role.AGENT)
    newcomer = choose_password(link)
    assert newcomer.get("/").headers["Location"] == "/p/shop/cases"
    again = Client().get(link, follow=True)
    assert again.status_code == 410
    assert "no longer valid" in again.content.decode()
    assert User.objects.get(username="nina").check_password("seven-lanterns-9")


def test_a_weak_password_is_refused_and_the_link_still_works(client: Client, lead: User) -> None:
    link = invite(client, "nina", Role.AGENT)
    assert "_auth_user_id" not in choose_password(link, "12345678").session
    assert "_auth_user_id" in choose_password(link).session


def test_the_page_with_the_link_is_not_kept(client: Client, lead: User) -> None:
    response = client.post("/p/shop/people", {"username": "nina", "roles": [Role.AGENT]})
    assert response.headers["Cache-Control"] == "no-store"
    assert "/welcome/" not in client.get("/p/shop/people").content.decode()


def test_somebody_who_signs_in_already_gets_roles_and_no_link(client: Client, lead: User, outsider: User) -> None:
    outsider.set_password("seven-lanterns-9")
    outsider.save()
    assert invite(client, "outsider", Role.EXPERT) == ""
    assert Membership.objects.filter(user=outsider, project__slug="shop", role=Role.EXPERT).exists()


def test_no_link_opens_an_account_that_also_belongs_to_others(client: Client, lead: User, outsider: User) -> None:
    Membership.objects.create(user=outsider, project=Project.objects.get(slug="shop"), role=Role.AGENT)
    page = client.post(f"/p/shop/people/{outsider.pk}", {"act": "link"}).content.decode()
    assert "/welcome/" not in page
    assert "do not lead" in page


@pytest.mark.parametrize("privilege", ["superuser", "admin"])
def test_no_lead_gets_a_link_into_a_stronger_account(
    privilege: str, client: Client, lead: User, project: Project
) -> None:
    strong = make_person(project, "strong", Role.ADMIN if privilege == "admin" else Role.AGENT)
    User.objects.filter(pk=strong.pk).update(is_superuser=privilege == "superuser")
    assert "/welcome/" not in client.post(f"/p/shop/people/{strong.pk}", {"act": "link"}).content.decode()


def test_a_lead_neither_gives_nor_takes_the_role_admin(client: Client, lead: User, project: Project) -> None:
    boss, agent = make_person(project, "boss", Role.ADMIN), make_person(project, "agent", Role.AGENT)
    for person, roles in ((boss, [Role.AGENT]), (agent, [Role.ADMIN])):
        client.post(f"/p/shop/people/{person.pk}", {"act": "save", "roles": roles})
    client.post(f"/p/shop/people/{boss.pk}", {"act": "remove"})
    invite(client, "nina", Role.ADMIN)
    assert (roles_of("boss"), roles_of("agent"), roles_of("nina")) == ({"admin"}, {"agent"}, set())


def test_roles_are_changed_to_exactly_those_that_were_chosen(client: Client, lead: User, project: Project) -> None:
    agent = make_person(project, "agent", Role.AGENT)
    client.post(f"/p/shop/people/{agent.pk}", {"act": "save", "roles": [Role.EXPERT, Role.ANNOTATOR]})
    assert roles_of("agent") == {"expert", "annotator"}


def test_a_desk_keeps_somebody_who_leads_it(client: Client, lead: User) -> None:
    page = client.post(
        f"/p/shop/people/{lead.pk}", {"act": "save", "roles": [Role.AGENT]}, follow=True
    ).content.decode()
    assert "somebody who leads it" in page
    assert roles_of("lead") == {"lead"}


def test_who_is_let_go_is_signed_out_and_cannot_come_back(client: Client, lead: User, project: Project) -> None:
    agent = make_person(project, "agent", Role.AGENT)
    theirs = Client()
    theirs.force_login(agent)
    client.post(f"/p/shop/people/{agent.pk}", {"act": "remove"})
    agent.refresh_from_db()
    assert not agent.is_active
    assert theirs.get("/p/shop/cases").headers["Location"].startswith("/sign-in")
    assert invite(client, "agent", Role.AGENT)  # until somebody invites them again


def test_who_still_belongs_elsewhere_keeps_their_account(client: Client, lead: User, outsider: User) -> None:
    Membership.objects.create(user=outsider, project=Project.objects.get(slug="shop"), role=Role.AGENT)
    client.post(f"/p/shop/people/{outsider.pk}", {"act": "remove"})
    outsider.refresh_from_db()
    assert outsider.is_active
    assert not Membership.objects.filter(user=outsider, project__slug="shop").exists()


def test_a_person_of_another_desk_cannot_be_touched(client: Client, lead: User, outsider: User) -> None:
    before = roles_of("outsider")
    for body in ({"act": "remove"}, {"act": "save", "roles": [Role.AGENT]}, {"act": "link"}):
        client.post(f"/p/shop/people/{outsider.pk}", body)
    assert roles_of("outsider") == before
