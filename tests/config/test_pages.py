"""Home, language, theme and preferences: pages that belong to no app."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from django.utils import translation

from feedback.models import Membership, Project, Role, User
from labeling.shortcuts import ACTIONS, Shortcuts

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    """A request leaves its language behind in the thread; tests begin in English."""
    with translation.override("en"):
        yield


@pytest.mark.parametrize(
    ("role", "place"),
    [
        (Role.ANNOTATOR, "/p/shop/label"),
        (Role.EXPERT, "/p/shop/adjudicate"),
        (Role.AGENT, "/p/shop/cases"),
        (Role.LEAD, "/p/shop/loop"),
        (Role.ADMIN, "/p/shop/loop"),
    ],
)
def test_home_is_where_the_roles_work_is(role: str, place: str, client: Client, project: Project) -> None:
    person = User.objects.create(username="somebody")
    Membership.objects.create(user=person, project=project, role=role)
    client.force_login(person)
    assert client.get("/").headers["Location"] == place
    assert client.get("/p/shop/").headers["Location"] == place


def test_somebody_without_a_role_is_told_whom_to_ask(client: Client) -> None:
    client.force_login(User.objects.create(username="somebody"))
    response = client.get("/")
    assert response.status_code == 403
    assert "Ask a lead" in response.content.decode()


def test_a_stranger_is_sent_to_the_sign_in(client: Client) -> None:
    for path in ("/", "/preferences", "/p/shop/label", "/p/shop/cases", "/p/shop/loop"):
        assert client.get(path).headers["Location"].startswith("/sign-in?next=")


def test_an_inactive_account_cannot_sign_in(client: Client) -> None:
    User.objects.create_user("gone", password="correct horse battery", is_active=False)
    assert client.post("/sign-in", {"username": "gone", "password": "correct horse battery"}).status_code == 422


@pytest.mark.parametrize("to", ["https://elsewhere.example/", "//elsewhere.example/", "javascript:alert(1)"])
def test_no_form_sends_anybody_elsewhere(to: str, client: Client, annotator: User) -> None:
    client.force_login(annotator)
    for path, value in (("/language", {"language": "ja"}), ("/theme", {"theme": "dark"})):
        assert client.post(path, {**value, "next": to}).headers["Location"] == "/"


def test_the_language_is_kept_for_the_person_and_for_the_browser(client: Client, annotator: User) -> None:
    client.force_login(annotator)
    response = client.post("/language", {"language": "ja", "next": "/preferences"})
    assert response.cookies["django_language"].value == "ja"
    assert "設定" in client.get("/preferences").content.decode()
    annotator.refresh_from_db()
    assert annotator.preferences["language"] == "ja"


def test_an_unknown_language_or_theme_changes_nothing(client: Client, annotator: User) -> None:
    client.force_login(annotator)
    client.post("/language", {"language": "xx"})
    client.post("/theme", {"theme": "<script>"})
    annotator.refresh_from_db()
    assert annotator.preferences == {}


def test_two_actions_of_one_page_cannot_share_a_key() -> None:
    assert set(Shortcuts.faults({"undo": "s"})) == {"undo", "suggestion"}
    assert Shortcuts.faults({"next_case": "f"}) == {}  # the desk's key, on another page
    assert set(Shortcuts.faults({"overlay": "j"})) == {"overlay", "next_case"}


def test_a_key_is_one_character_or_a_named_key() -> None:
    for fault in ("ab", "Escape", "7"):
        assert "undo" in Shortcuts.faults({"undo": fault})
    assert Shortcuts.faults({"undo": "Backspace"}) == {}
    assert Shortcuts.faults({}) == {}


def test_preferences_of_an_older_time_fall_back_to_the_defaults() -> None:
    known = Shortcuts.of({"shortcuts": {"keys": {"undo": "u", "no_longer": "q"}}})
    assert known.on
    assert known.keys == {a.name: a.key for a in ACTIONS} | {"undo": "u"}


def test_every_page_forbids_scripts_from_elsewhere(client: Client, annotator: User) -> None:
    client.force_login(annotator)
    for path in ("/p/shop/label", "/preferences", "/p/shop/loop", "/nowhere"):
        response = client.get(path)
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert "<script>" not in response.content.decode()
        assert " style=" not in response.content.decode()
