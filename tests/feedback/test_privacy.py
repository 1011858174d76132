from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from feedback import privacy, vault
from feedback.masking import mask
from feedback.models import Inquiry, Original, Reveal, Role
from serving.served import served
from tests.conftest import make_person
from tests.feedback.test_masking import texts

TEXT = "Where is order 48213? Write to jo@example.com or jo2@example.com, card 4111 1111 1111 1111."
MASKED = "Where is order [order]? Write to [email] or [email 2], card [card *1111]."
SHOWN = "Where is order 48213? Write to jo@example.com or jo2@example.com, card [card *1111]."


@pytest.fixture(autouse=True)
def _own_vault(settings, tmp_path):
    settings.ENSO_VAULT_KEYS = []
    settings.ENSO_VAULT_FILE = tmp_path / "vault_keys"


@pytest.fixture
def agent(project):
    return make_person(project, "agent", Role.AGENT)


@pytest.fixture
def inquiry(post):
    made = post("inquiries", {"text": TEXT, "customer": "c-1"})
    assert made.status_code == 201
    return Inquiry.objects.get(pk=made.json()["id"])


def everything_stored() -> str:
    """The whole database as text, but for what is encrypted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [t for (t,) in cursor.fetchall()]
        parts = []
        for table in tables:
            cursor.execute(f'SELECT row_to_json(t)::text FROM "{table}" t')
            parts += [row for (row,) in cursor.fetchall()]
    return "\n".join(parts)


@pytest.mark.django_db
def test_an_inquiry_is_stored_without_personal_data(inquiry):
    assert inquiry.text == MASKED
    stored = everything_stored()
    for secret in ("48213", "jo@example.com", "jo2@example.com", "4111 1111"):
        assert secret not in stored


@pytest.mark.django_db
def test_the_card_number_is_not_even_in_the_vault(inquiry):
    assert "4111" not in repr(vault.unseal(bytes(inquiry.original.sealed)))


@pytest.mark.django_db
def test_the_model_reads_the_masked_text(post, project, monkeypatch):
    read: list[str] = []
    predict = served.predict

    def watched(desk, texts, locales, *more):
        read.extend(texts)
        return predict(desk, texts, locales, *more)

    monkeypatch.setattr(served, "predict", watched)
    post("inquiries", {"text": TEXT})
    post("predict", {"text": TEXT})
    post("predict/batch", {"inquiries": [{"text": TEXT}]})
    assert read == [MASKED] * 3


@pytest.mark.django_db
def test_strings_in_the_metadata_are_masked_too(post, project):
    made = post("inquiries", {"text": "Hello", "metadata": {"a": [{"mail": "jo@example.com"}], "n": 3}}).json()
    assert Inquiry.objects.get(pk=made["id"]).metadata == {"a": [{"mail": "[email]"}], "n": 3}


@pytest.mark.django_db
def test_texts_without_personal_data_leave_nothing_in_the_vault(post, project):
    post("inquiries", {"text": "Where is my parcel?"})
    post("inquiries", {"text": "My card is 4111 1111 1111 1111."})
    assert not Original.objects.exists()


@pytest.mark.django_db
def test_the_same_external_id_with_other_personal_data_is_still_another_body(post, project):
    first = post("inquiries", {"text": "Mail jo@example.com", "external_id": "x"})
    again = post("inquiries", {"text": "Mail jo@example.com", "external_id": "x"})
    other = post("inquiries", {"text": "Mail al@example.com", "external_id": "x"})
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)


@pytest.mark.django_db
def test_a_projects_own_order_numbers_are_masked(post, project):
    privacy.set_order_templates(project_id=project.pk, templates=["QX/999"])
    assert privacy.masked("Where is QX/204?", project_id=project.pk).text == "Where is [order]?"


@pytest.mark.django_db
def test_a_pattern_that_matches_anything_is_refused(project):
    with pytest.raises(privacy.Problem, match="needs at least two places"):
        privacy.set_order_templates(project_id=project.pk, templates=["EN-999", "abc"])
    project.refresh_from_db()
    assert project.order_templates == []


@pytest.mark.django_db
def test_an_agent_sees_the_originals_and_that_is_on_record(client, inquiry, agent):
    client.force_login(agent)
    answer = client.post(
        f"/api/v1/inquiries/{inquiry.pk}/reveal", {"reason": "Call back"}, content_type="application/json"
    )
    assert answer.status_code == 200
    assert answer.json()["text"] == SHOWN
    assert "no-store" in answer["Cache-Control"]
    row = Reveal.objects.get()
    assert (row.person, row.reason, row.inquiry_ref) == (agent, "Call back", inquiry.pk)


@pytest.mark.django_db
@pytest.mark.parametrize("reason", ["", "   ", "x" * 501, None])
def test_without_a_reason_nothing_is_shown(client, inquiry, agent, reason):
    client.force_login(agent)
    answer = client.post(
        f"/api/v1/inquiries/{inquiry.pk}/reveal", json.dumps({"reason": reason}), content_type="application/json"
    )
    assert answer.status_code == 422
    assert answer.json()["field"] == "reason"
    assert not Reveal.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.EXPERT])
def test_who_labels_sees_no_originals(client, inquiry, project, role):
    client.force_login(make_person(project, "labeler", role))
    api = client.post(f"/api/v1/inquiries/{inquiry.pk}/reveal", {"reason": "Curious"}, content_type="application/json")
    page = client.post(f"/p/shop/inquiries/{inquiry.pk}/reveal", {"reason": "Curious"})
    assert (api.status_code, page.status_code) == (403, 403)
    assert not Reveal.objects.exists()


@pytest.mark.django_db
def test_for_people_of_other_projects_and_for_keys_there_is_nothing_to_reveal(client, key, inquiry, outsider):
    url = f"/api/v1/inquiries/{inquiry.pk}/reveal"
    by_key = client.post(
        url, {"reason": "x"}, content_type="application/json", headers={"Authorization": f"Api-Key {key}"}
    )
    assert by_key.status_code == 403
    client.force_login(outsider)
    assert client.post(url, {"reason": "x"}, content_type="application/json").status_code == 404
    assert (
        client.post(
            f"/api/v1/inquiries/{uuid.uuid4()}/reveal", {"reason": "x"}, content_type="application/json"
        ).status_code
        == 404
    )
    assert not Reveal.objects.exists()


@pytest.mark.django_db
def test_the_case_page_asks_for_a_reason_and_then_shows_the_text(client, inquiry, agent):
    client.force_login(agent)
    url = f"/p/shop/inquiries/{inquiry.pk}/reveal"
    asked = client.get(url)
    assert b"reason" in asked.content
    assert b"48213" not in asked.content
    assert b"48213" not in client.post(url, {"reason": " "}).content
    shown = client.post(url, {"reason": "The customer calls"})
    assert b"48213" in shown.content
    assert "no-store" in shown["Cache-Control"]
    assert Reveal.objects.count() == 1


@pytest.mark.django_db
def test_a_reason_is_masked_as_well(inquiry, agent, project):
    privacy.reveal(project_id=project.pk, inquiry_id=inquiry.pk, person=agent, reason="He is jo@example.com")
    assert Reveal.objects.get().reason == "He is [email]"


@pytest.mark.django_db
def test_the_record_of_who_looked_outlives_the_inquiry(inquiry, agent, project):
    privacy.reveal(project_id=project.pk, inquiry_id=inquiry.pk, person=agent, reason="Call back")
    pk = inquiry.pk
    inquiry.delete()
    assert Reveal.objects.get().inquiry_ref == pk
    assert not Original.objects.exists()


def test_threads_that_need_the_first_key_at_the_same_time_all_get_the_same(settings):
    for _ in range(20):
        settings.ENSO_VAULT_FILE.unlink(missing_ok=True)
        together = threading.Barrier(4)

        def first_key(barrier=together):
            barrier.wait()
            return vault.keys()

        with ThreadPoolExecutor(4) as threads:
            found = [one.result() for one in [threads.submit(first_key) for _ in range(4)]]
        assert len(set(found)) == 1
    assert [p.name for p in settings.ENSO_VAULT_FILE.parent.iterdir()] == ["vault_keys"]


def test_the_keys_are_made_once_and_are_for_their_owner_alone(settings):
    first = vault.keys()
    assert vault.keys() == first
    assert settings.ENSO_VAULT_FILE.stat().st_mode & 0o777 == 0o600


@pytest.mark.django_db
def test_rotation_rewrites_every_original_and_drops_the_old_key(inquiry, settings):
    before, sealed = vault.keys(), bytes(inquiry.original.sealed)
    call_command("rotate_vault")
    after = vault.keys()
    assert len(after) == 1
    assert after != before
    inquiry.original.refresh_from_db()
    assert bytes(inquiry.original.sealed) != sealed
    assert [p.original for p in vault.unseal(bytes(inquiry.original.sealed))] == [
        "48213",
        "jo@example.com",
        "jo2@example.com",
    ]
    with pytest.raises(vault.Unreadable):
        vault.unseal(sealed)
    assert settings.ENSO_VAULT_FILE.stat().st_mode & 0o777 == 0o600


@pytest.mark.django_db
def test_no_key_is_dropped_while_an_original_cannot_be_read(inquiry, settings):
    Original.objects.update(sealed=Fernet(Fernet.generate_key()).encrypt(b"[]"))
    with pytest.raises(CommandError, match="1 originals"):
        call_command("rotate_vault")
    assert len(vault.keys()) == 2


@pytest.mark.django_db
def test_a_lost_key_is_said_to_the_agent(client, inquiry, agent, settings):
    settings.ENSO_VAULT_KEYS = [Fernet.generate_key().decode()]
    client.force_login(agent)
    answer = client.post(f"/api/v1/inquiries/{inquiry.pk}/reveal", {"reason": "x"}, content_type="application/json")
    assert answer.status_code == 409
    assert answer.json()["type"].endswith("key-lost")


@given(texts)
def test_restoring_gives_the_text_again_but_for_cards_and_ibans(text):
    masked = mask(text)
    pairs = [vault.Pair(f.placeholder, f.kind, f.original) for f in masked.found if f.kind not in ("card", "iban")]
    expected, at = "", 0
    for f in masked.found:
        expected += text[at : f.start] + (f.placeholder if f.kind in ("card", "iban") else f.original)
        at = f.end
    assert vault.restored(masked.text, pairs) == expected + text[at:]


@given(st.text(), st.text())
def test_the_same_text_is_sealed_differently_each_time(a, b):
    assert vault.unseal_text(vault.seal_text(a)) == a
    assert vault.seal_text(a) != vault.seal_text(a)
