from __future__ import annotations

import pytest
from django.utils import timezone, translation

from feedback.models import Notice, NoticeState, Role, Webhook
from tests.conftest import make_person

pytestmark = pytest.mark.django_db
URL = "https://127.0.0.1:9/hook"


@pytest.fixture(autouse=True)
def _here(settings):
    settings.ENSO_OUTBOUND_ALLOW = ["127.0.0.1"]
    with translation.override("en"):
        yield


@pytest.fixture
def lead(client, project):
    person = make_person(project, "lead", Role.LEAD)
    client.force_login(person)
    return person


def add(client):
    return client.post("/p/shop/webhooks", {"url": URL, "kinds": ["label.resolved", "model.promoted"]})


@pytest.fixture
def dead(client, lead):
    add(client)
    return Notice.objects.create(
        webhook=Webhook.objects.get(), event="evt_1", kind="label.resolved", body="{}", state=NoticeState.DEAD, due_at=timezone.now(),
        status=500, error="It answered 500.", attempts=9,
    )  # fmt: skip


def test_a_lead_adds_a_webhook_and_sees_its_secret_once(client, lead):
    made = add(client)
    assert made.status_code == 201
    assert b"whsec_" in made.content
    assert b"whsec_" not in client.get("/p/shop/webhooks").content
    assert Webhook.objects.get().kinds == ["label.resolved", "model.promoted"]


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"url": "", "kinds": ["label.resolved"]}, "Write the address"),
        ({"url": "https://10.0.0.1/", "kinds": ["label.resolved"]}, "no public address"),
        ({"url": URL}, "Choose at least one event"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_added(client, lead, form, told):
    answer = client.post("/p/shop/webhooks", form)
    assert answer.status_code == 422
    assert told in answer.content.decode()
    assert not Webhook.objects.exists()


def test_what_was_given_up_is_shown_and_sent_again(client, dead):
    page = client.get("/p/shop/webhooks").content.decode()
    assert "It answered 500." in page
    assert "1 given up" in page
    again = client.post(f"/p/shop/webhooks/{dead.webhook_id}/replay", follow=True)
    assert "1 notices will be sent again." in again.content.decode()
    dead.refresh_from_db()
    assert dead.state == NoticeState.PENDING


def test_one_notice_is_sent_again(client, dead):
    client.post(f"/p/shop/notices/{dead.pk}/again")
    dead.refresh_from_db()
    assert (dead.state, dead.tries) == (NoticeState.PENDING, 0)


def test_a_webhook_is_paused_resumed_rotated_and_removed(client, dead):
    at = f"/p/shop/webhooks/{dead.webhook_id}"
    client.post(f"{at}/pause")
    assert not Webhook.objects.get().active
    client.post(f"{at}/resume")
    assert Webhook.objects.get().active
    assert b"whsec_" in client.post(f"{at}/rotate").content
    assert client.post(f"{at}/explode").status_code == 404
    client.post(f"{at}/remove")
    assert not Webhook.objects.exists()


def test_it_speaks_japanese(client, lead):
    lead.preferences = {"language": "ja"}
    lead.save()
    client.cookies["django_language"] = "ja"
    assert "Webhook を追加" in client.get("/p/shop/webhooks").content.decode()


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.EXPERT, Role.AGENT])
def test_others_may_not_open_it(client, project, role):
    client.force_login(make_person(project, "somebody", role))
    assert client.get("/p/shop/webhooks").status_code == 403
    assert add(client).status_code == 403


def test_a_lead_of_another_project_changes_nothing(client, dead, other_project):
    client.force_login(make_person(other_project, "stranger", Role.LEAD))
    assert client.get("/p/shop/webhooks").status_code == 404
    client.post(f"/p/bank/webhooks/{dead.webhook_id}/remove")
    client.post(f"/p/bank/notices/{dead.pk}/again")
    assert Webhook.objects.exists()
    dead.refresh_from_db()
    assert dead.state == NoticeState.DEAD
