"""What pages may send, from where, and what a customer's token is worth."""

from __future__ import annotations

import gzip
import json
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from feedback import customers, keys, page_events
from feedback.models import ApiKey, ClientApp, Event, Project
from feedback.principals import digest
from tests.conftest import make_key

ORIGIN = "https://shop.example"
CLICK = {"inquiry": "order-7", "type": "click", "event_id": "aaaaaaaa"}


@pytest.fixture
def public_key(project: Project) -> str:
    return keys.create_public_key(app=ClientApp.objects.get(project=project), origins=[ORIGIN])[1]


@pytest.fixture
def send(client: Client, public_key: str) -> Callable[..., Any]:
    def post(*events: dict[str, Any], origin: str | None = ORIGIN, key: str = public_key, **kwargs: Any) -> Any:
        headers = {} if origin is None else {"Origin": origin}
        body = kwargs.pop("body", json.dumps({"events": events}))
        return client.post(f"/feedback?key={key}", body, content_type="text/plain", headers=headers | kwargs)

    return post


def token(public_key: str, customer: str = "c-1042", *, lasts: float = 600) -> str:
    secret = customers.signing_secret(server_secret=django_settings.SECRET_KEY, key_digest=digest(public_key))
    return customers.sign(customer, secret=secret, expires_at=int(time.time() + lasts))


@pytest.mark.django_db
def test_an_event_of_a_page_is_stored_and_the_answer_says_nothing_about_it(send: Any) -> None:
    answer = send(CLICK)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer["Access-Control-Allow-Origin"] == ORIGIN
    assert "Access-Control-Allow-Credentials" not in answer
    assert answer["Vary"] == "Origin"
    assert Event.objects.get().kind == "click"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://shop.example", "https://shop.example:8443", "https://shop.example.evil.example",
     "https://evil.example", "https://SHOP.example", "https://shop.example/", "https://www.shop.example"],
)  # fmt: skip
def test_another_origin_is_refused_without_a_word_to_its_scripts(send: Any, origin: str | None) -> None:
    answer = send(CLICK, origin=origin)
    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer
    assert not Event.objects.exists()


@pytest.mark.django_db
def test_errors_can_be_read_by_the_page_that_made_them(send: Any) -> None:
    answer = send({**CLICK, "type": "clack"})
    assert answer.status_code == 422
    assert answer.json()["field"] == "events[0].type"
    assert answer["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "method"), [("/api/v1/feedback", "POST"), ("/api/v1/models", "GET"), ("/api/v1/inquiries", "POST")]
)
def test_a_public_key_opens_nothing_else(client: Client, public_key: str, path: str, method: str) -> None:
    headers = {"Authorization": f"Api-Key {public_key}", "Origin": ORIGIN}
    answer = client.generic(method, path, "{}", content_type="application/json", headers=headers)
    assert answer.status_code == 401


@pytest.mark.django_db
def test_a_page_cannot_read(client: Client, public_key: str) -> None:
    answer = client.get(f"/feedback?key={public_key}", headers={"Origin": ORIGIN})
    assert answer.status_code == 405


@pytest.mark.django_db
def test_a_secret_key_in_the_url_is_refused_and_said_to_be_burnt(send: Any, project: Project) -> None:
    answer = send(CLICK, key=make_key(project))
    assert answer.status_code == 401
    assert "revoke it" in answer.json()["detail"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "state", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now() - timedelta(seconds=1)}]
)
def test_a_revoked_or_expired_public_key_is_refused(send: Any, state: dict[str, Any]) -> None:
    ApiKey.objects.update(**state)
    assert send(CLICK).status_code == 401


@pytest.mark.django_db
def test_a_preflight_is_answered_for_the_bound_origin_only(client: Client, public_key: str) -> None:
    ask = {"Access-Control-Request-Method": "POST"}
    good = client.options(f"/feedback?key={public_key}", headers={"Origin": ORIGIN, **ask})
    bad = client.options(f"/feedback?key={public_key}", headers={"Origin": "https://evil.example", **ask})
    assert (good.status_code, good["Access-Control-Allow-Origin"]) == (204, ORIGIN)
    assert bad.status_code == 403
    assert "Access-Control-Allow-Origin" not in bad


@pytest.mark.django_db
def test_the_same_event_sent_twice_is_one_whatever_its_age_and_token(send: Any, public_key: str) -> None:
    send({**CLICK, "age": 1, "token": token(public_key)})
    assert send({**CLICK, "age": 400}).status_code == 204
    assert Event.objects.count() == 1


@pytest.mark.django_db
def test_a_page_cannot_take_the_event_id_of_a_server(send: Any, post: Any) -> None:
    send(CLICK)
    answer = post("feedback", {"inquiry": "order-7", "type": "rating", "value": 5, "event_id": CLICK["event_id"]})
    assert answer.status_code == 201


@pytest.mark.django_db
def test_an_event_is_dated_by_its_age_not_by_the_clock_of_the_page(send: Any) -> None:
    send({**CLICK, "age": 3600})
    age = timezone.now() - Event.objects.get().occurred_at
    assert timedelta(minutes=59) < age < timedelta(minutes=70)


def recorded(send: Any, **fields: Any) -> Event:
    """The event as it was stored."""
    event_id = uuid.uuid4().hex
    assert send({**CLICK, "event_id": event_id, **fields}).status_code == 204
    return Event.objects.get(event_id__endswith=event_id)


@pytest.mark.django_db
def test_a_customer_signed_for_by_the_apps_server_is_known(send: Any, public_key: str) -> None:
    event = recorded(send, token=token(public_key))
    assert (event.customer, event.weight) == ("c-1042", 1.0)


@pytest.mark.django_db
def test_without_a_token_or_after_its_end_an_event_is_anonymous(send: Any, public_key: str) -> None:
    for fields in ({}, {"token": token(public_key, lasts=-5)}):
        event = recorded(send, **fields)
        assert (event.customer, event.weight) == ("", 0.2)


@pytest.mark.django_db
def test_a_page_cannot_name_a_customer_by_itself(send: Any) -> None:
    answer = send({**CLICK, "customer": "c-1042"})
    assert answer.status_code == 422
    assert answer.json()["field"] == "events[0].customer"


@pytest.mark.django_db
def test_a_token_signed_for_another_key_is_refused(send: Any, other_project: Project) -> None:
    _, other = keys.create_public_key(app=ClientApp.objects.get(project=other_project), origins=[ORIGIN])
    answer = send({**CLICK, "token": token(other)})
    assert answer.status_code == 422
    assert answer.json()["field"] == "events[0].token"
    assert not Event.objects.exists()


@pytest.mark.django_db
def test_tokens_outlive_a_change_of_the_servers_secret_key(send: Any, public_key: str, settings: Any) -> None:
    signed = token(public_key)
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    assert send({**CLICK, "token": signed}).status_code == 204


@given(where=st.integers(0, 200), bit=st.integers(0, 6))
def test_no_changed_token_names_anybody(where: int, bit: int) -> None:
    good = customers.sign("c-1042", secret="cs_secret", expires_at=2_000)
    raw = bytearray(good.encode())
    raw[where % len(raw)] ^= 1 << bit
    changed = raw.decode("latin-1")
    try:
        named = customers.customer_of(changed, secrets=["cs_secret"], now=1_000.0)
    except customers.Forged:
        return
    # The last character of an unpadded part has bits that stand for nothing.
    assert named == "c-1042"
    assert customers._decode(changed.rpartition(".")[2]) == customers._decode(good.rpartition(".")[2])


def test_a_token_that_would_last_for_years_does_not_count() -> None:
    forever = customers.sign("c", secret="s", expires_at=10**10)
    with pytest.raises(customers.Forged):
        customers.customer_of(forever, secrets=["s"], now=1_000.0)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "status"),
    [("{", 400), ('{"events": []}', 422), (json.dumps({"events": [CLICK] * 51}), 422), ("x" * 65_537, 413), ("[]", 422),
     (json.dumps({"events": [{**CLICK, "event_id": "short"}]}), 422), (json.dumps({"events": [{**CLICK, "age": -1}]}), 422),
     (json.dumps({"events": [{**CLICK, "inquiry": "a\0b"}]}), 422)],
)  # fmt: skip
def test_bad_bodies_are_refused_and_store_nothing(send: Any, body: str, status: int) -> None:
    assert send(body=body).status_code == status
    assert not Event.objects.exists()


@pytest.mark.django_db
def test_one_visitor_cannot_spend_what_all_visitors_share(send: Any, project: Project) -> None:
    Project.objects.update(page_limit_per_minute=3)
    answers = [send({**CLICK, "event_id": f"event{i:04}"}).status_code for i in range(4)]
    assert answers == [204, 204, 204, 429]


@pytest.mark.django_db
def test_a_refused_visitor_is_told_when_to_come_back(send: Any, project: Project) -> None:
    Project.objects.update(page_limit_per_minute=1)
    send(CLICK)
    answer = send(CLICK)
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 60
    assert answer["Access-Control-Expose-Headers"] == "Retry-After"


def test_the_snippet_is_under_4_kb_packed() -> None:
    assert len(gzip.compress(page_events.SCRIPT.read_bytes(), 9)) < 4096


def test_the_snippet_is_kept_by_browsers_and_asked_for_again_by_its_etag(client: Client) -> None:
    first = client.get("/enso.js", headers={"Accept-Encoding": "gzip"})
    assert first["Content-Type"].startswith("text/javascript")
    assert gzip.decompress(first.content) == page_events.SCRIPT.read_bytes()
    assert "max-age=86400" in first["Cache-Control"]
    again = client.get("/enso.js", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
