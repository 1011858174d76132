"""The page of keys: for leads and admins of the project alone; a secret is shown once."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from config.key_pages import SCOPE_NAMES
from feedback.keys import SCOPES
from feedback.models import ApiKey, Project, Role, User
from tests.conftest import make_key, make_person

pytestmark = pytest.mark.django_db
SERVER = {"kind": "secret", "app": "web", "scopes": ["feedback:write"], "lasts": "30"}
PAGES = {"kind": "public", "app": "web", "origins": "https://shop.example\nhttps://www.shop.example", "lasts": ""}


@pytest.fixture
def lead(project: Project, client: Client) -> Client:
    client.force_login(make_person(project, "lead", Role.LEAD))
    with translation.override("en"):
        yield client


def test_every_scope_has_a_name_for_people() -> None:
    assert set(SCOPE_NAMES) == set(SCOPES)


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.EXPERT, Role.AGENT])
def test_other_roles_are_told_whom_to_ask(client: Client, project: Project, role: str) -> None:
    client.force_login(make_person(project, "somebody", role))
    for answer in (client.get("/p/shop/keys"), client.post("/p/shop/keys", SERVER)):
        assert answer.status_code == 403
    assert not ApiKey.objects.exists()


def test_the_keys_of_another_project_do_not_exist(lead: Client, other_project: Project) -> None:
    make_key(other_project)
    foreign = ApiKey.objects.get()
    assert lead.get("/p/bank/keys").status_code == 404
    for act in ("rotate", "revoke"):
        assert lead.post(f"/p/shop/keys/{foreign.pk}/{act}").status_code == 404
        assert lead.post(f"/p/bank/keys/{foreign.pk}/{act}").status_code == 404
    foreign.refresh_from_db()
    assert (foreign.state, ApiKey.objects.count()) == ("valid", 1)


def test_a_new_secret_is_shown_once_and_kept_by_no_cache(lead: Client, post: Any) -> None:
    answer = lead.post("/p/shop/keys", SERVER)
    secret = answer.context["fresh"]["secret"]
    assert secret in answer.content.decode()
    assert answer["Cache-Control"] == "no-store"
    assert secret not in lead.get("/p/shop/keys").content.decode()
    assert post("feedback", {"inquiry": "x", "type": "click"}, secret=secret).status_code == 201


def test_a_public_key_comes_with_its_script_and_its_signing_secret(lead: Client) -> None:
    page = lead.post("/p/shop/keys", PAGES).content.decode()
    key = ApiKey.objects.get()
    assert key.origins == ["https://shop.example", "https://www.shop.example"]
    assert f"http://testserver/enso.js&quot; data-key=&quot;{key.public_key}" in page.replace('"', "&quot;")
    assert "cs_" in page
    assert "cs_" not in lead.get("/p/shop/keys").content.decode()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({**SERVER, "scopes": []}, "scopes"), ({**SERVER, "scopes": ["all"]}, "scopes"), ({**SERVER, "app": ""}, "app"),
        ({**SERVER, "app": "a b"}, "app"), ({**SERVER, "lasts": "9999"}, "lasts"), ({**PAGES, "origins": ""}, "origins"),
        ({**PAGES, "origins": "https://*.example"}, "origins"), ({**SERVER, "kind": "other"}, "kind"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_named_and_no_key_is_made(lead: Client, wrong: dict[str, Any], field: str) -> None:
    answer = lead.post("/p/shop/keys", wrong)
    assert answer.status_code == 422
    assert field in answer.context["form"].errors
    assert not ApiKey.objects.exists()


def test_a_key_is_rotated_with_the_chosen_overlap(lead: Client, project: Project) -> None:
    make_key(project, "labels:read")
    old = ApiKey.objects.get()
    answer = lead.post(f"/p/shop/keys/{old.pk}/rotate", {"overlap": "30"})
    assert answer.context["fresh"]["secret"].startswith("enso_")
    old.refresh_from_db()
    assert old.state == "ending"
    again = lead.post(f"/p/shop/keys/{old.pk}/rotate", {"overlap": "30"}, follow=True)
    assert "rotated already" in again.content.decode()


def test_a_key_is_revoked(lead: Client, project: Project) -> None:
    make_key(project)
    answer = lead.post(f"/p/shop/keys/{ApiKey.objects.get().pk}/revoke", follow=True)
    assert "is revoked" in answer.content.decode()
    assert ApiKey.objects.get().state == "revoked"


def test_nothing_is_changed_by_following_a_link(lead: Client, project: Project) -> None:
    make_key(project)
    key = ApiKey.objects.get()
    assert {lead.get(f"/p/shop/keys/{key.pk}/{act}").status_code for act in ("rotate", "revoke")} == {405}


def test_a_stranger_is_sent_to_the_sign_in(client: Client, project: Project) -> None:
    assert client.get("/p/shop/keys")["Location"].startswith("/sign-in?next=")
    assert User.objects.count() == 0
