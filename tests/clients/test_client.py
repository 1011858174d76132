"""The client against the live server, and what it does when things go wrong on the way."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import enso_client
import httpx
import pytest
from django.conf import settings
from enso_client import AsyncClient, BufferFull, Client, Event, Retries, sign_customer
from enso_client import retries as retrying
from hypothesis import given
from hypothesis import strategies as st

from feedback import customers
from feedback.models import ApiKey, Inquiry, Project
from feedback.models import Event as StoredEvent
from tests.conftest import CATEGORIES, make_key
from tests.servers import ROOT

QUICK = Retries(attempts=4, first=0.001)


@pytest.fixture
def desk(transactional_db: None) -> Project:
    from feedback.services import create_project

    return create_project(slug="shop", name="Shop", categories=CATEGORIES, audit_rate=0.0)


@pytest.fixture
def enso(live_server: Any, desk: Project) -> Iterator[Client]:
    with Client(live_server.url, key=make_key(desk)) as client:
        yield client


# --- against the live server ----------------------------------------------------------------------------------------


def test_an_inquiry_is_answered_and_its_story_can_be_read(enso: Client) -> None:
    answer = enso.inquire("Where is my parcel?", external_id="order-7", metadata={"shop": "Kyoto"})
    assert answer["category"] in {"refund", "delivery", "fraud"}
    story = enso.inquiry(str(answer["id"]))
    assert (story["external_id"], story["history"][0]["what"]) == ("order-7", "received")
    assert enso.escalate(str(answer["id"]), reason="The customer asked twice.")["state"] == "open"


def test_predictions_come_in_the_order_of_the_texts(enso: Client) -> None:
    texts = ["I want my money back.", "Where is my parcel?"]
    alone = [enso.predict(t)["category"] for t in texts]
    assert [a["category"] for a in enso.predict_many(texts)] == alone
    assert not Inquiry.objects.exists()


def test_feedback_is_stored_once_however_often_it_is_sent(enso: Client) -> None:
    event = Event("order-7", "dwell", 45.3, occurred_at=datetime.now(UTC))
    results = [enso.feedback(event)["result"] for _ in range(2)]
    assert results == ["stored", "duplicate"]
    many = enso.feedback_many([event, Event("order-7", "thumbs", "up")])
    assert [r["result"] for r in many] == ["duplicate", "stored"]


def test_models_jobs_and_agreement_can_be_read(enso: Client) -> None:
    assert enso.models() == []
    assert isinstance(enso.jobs(), list)
    assert isinstance(enso.agreement(), dict)


def test_a_refusal_is_an_exception_with_the_fields_of_the_problem(enso: Client) -> None:
    with pytest.raises(enso_client.Invalid) as raised:
        enso.feedback(Event("order-7", "scroll", 7))
    problem = raised.value
    assert (problem.status, problem.field, problem.type) == (422, "value", "urn:enso:problem:invalid-field")
    assert problem.request_id
    assert "from 0 to 1" in str(problem)


def test_other_refusals_have_classes_of_their_own(enso: Client, live_server: Any, desk: Project) -> None:
    with pytest.raises(enso_client.NotFound):
        enso.promote(99)
    event = Event("order-7", "click", event_id="e1")
    enso.feedback(event)
    with pytest.raises(enso_client.Conflict):
        enso.feedback(Event("order-8", "click", event_id="e1"))
    with Client(live_server.url, key=make_key(desk, "labels:read")) as weak, pytest.raises(enso_client.NotAllowed):
        weak.feedback(event)
    ApiKey.objects.all().delete()
    with Client(live_server.url, key="enso_wrong") as stranger, pytest.raises(enso_client.NotAuthenticated):
        stranger.models()


def test_a_batch_sends_what_was_added_at_the_latest_at_its_end(enso: Client) -> None:
    with enso.feedback_batch(size=40, seconds=60) as batch:
        for i in range(100):
            batch.add(Event(f"order-{i}", "click"))
    assert (len(batch), StoredEvent.objects.count()) == (0, 100)


def test_one_bad_event_does_not_take_the_others_with_it(enso: Client) -> None:
    with enso.feedback_batch(size=10, seconds=60) as batch:
        for value in (3.0, -1.0, 5.0):
            batch.add(Event("order-7", "dwell", value))
    assert sorted(StoredEvent.objects.values_list("value", flat=True)) == [3.0, 5.0]
    assert [(e.value, error.field) for e, error in batch.refused] == [(-1.0, "[0].value")]


def test_the_async_client_does_the_same(live_server: Any, desk: Project) -> None:
    key = make_key(desk)

    async def visit() -> list[Any]:
        async with AsyncClient(live_server.url, key=key) as client:
            answer = await client.inquire("Where is my parcel?")
            story = await client.inquiry(str(answer["id"]))
            async with client.feedback_batch(size=3, seconds=60) as batch:
                for i in range(7):
                    batch.add(Event(f"order-{i}", "click"))
            with pytest.raises(enso_client.Invalid):
                await client.feedback(Event("order-7", "scroll", 7))
            return [story["id"] == answer["id"], len(batch), len(await client.predict_many(["a b", "c d"]))]

    with ThreadPoolExecutor(1) as pool:  # a loop of its own: a browser test may have left one in this thread
        assert pool.submit(asyncio.run, visit()).result() == [True, 0, 2]
    assert StoredEvent.objects.count() == 7


# --- on the way -----------------------------------------------------------------------------------------------------


class Way:
    """Answers in turn, as (status, headers) or an error of the connection; what was asked is kept."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), list[httpx.Request]()
        self.client = Client(
            "https://enso.example/", key="enso_x", retries=QUICK, transport=httpx.MockTransport(self._answer)
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        return httpx.Response(
            status, json={"id": "x", "result": "stored", "results": [], "detail": "no"}, headers=headers
        )


LOST, DOWN = httpx.ReadTimeout("lost"), httpx.ConnectError("down")
CLICK = Event("order-7", "click")


@pytest.mark.parametrize("trouble", [LOST, DOWN, 503, 429, 500, 502, (409, {"Retry-After": "0"})])
def test_what_may_be_repeated_is_repeated_with_the_same_id(trouble: Any) -> None:
    way = Way(trouble, trouble, 201)
    way.client.feedback(CLICK)
    assert len(way.asked) == 3
    assert {r.content for r in way.asked} == {way.asked[0].content}
    assert CLICK.event_id in way.asked[0].content.decode()


def test_an_inquiry_without_an_id_of_its_own_gets_a_key_that_stays_the_same() -> None:
    way = Way(LOST, 201)
    way.client.inquire("Hello?")
    first, second = (r.headers["Idempotency-Key"] for r in way.asked)
    assert first == second


@pytest.mark.parametrize(("trouble", "tries"), [(DOWN, 2), (503, 2), (429, 2), (LOST, 1), (502, 1)])
def test_what_may_not_be_repeated_is_repeated_only_when_nothing_was_done(trouble: Any, tries: int) -> None:
    way = Way(trouble, 200)
    with contextlib.suppress(enso_client.EnsoError):
        way.client.rollback(3)
    assert len(way.asked) == tries


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
def test_a_refusal_is_not_repeated(status: int) -> None:
    way = Way(status)
    with pytest.raises(enso_client.Problem) as raised:
        way.client.feedback(CLICK)
    assert (raised.value.status, len(way.asked)) == (status, 1)


def test_it_gives_up_after_its_attempts() -> None:
    way = Way(*[503] * 9)
    with pytest.raises(enso_client.ServerError):
        way.client.feedback(CLICK)
    assert len(way.asked) == QUICK.attempts
    way = Way(*[LOST] * 9)
    with pytest.raises(enso_client.Unreachable):
        way.client.feedback(CLICK)


@given(attempt=st.integers(1, 4), seconds=st.floats(0, 60))
def test_a_named_time_is_waited_for_and_never_less(attempt: int, seconds: float) -> None:
    answer = httpx.Response(429, headers={"Retry-After": f"{seconds:.3f}"})
    wait = Retries().wait_after(attempt, answer, repeatable=False)
    assert wait is not None
    assert round(seconds, 3) <= wait <= seconds + 10.001


def test_a_time_beyond_its_patience_is_the_callers_to_wait_for() -> None:
    answer = httpx.Response(429, headers={"Retry-After": "3600"})
    assert Retries().wait_after(1, answer, repeatable=True) is None
    assert retrying.retry_after(answer) == 3600.0


def test_a_token_is_asked_for_anew_for_each_request() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Authorization"])
        return httpx.Response(200, json={"models": []})

    tokens = iter(["one", "two"])
    client = Client("https://enso.example", token=lambda: next(tokens), transport=httpx.MockTransport(answer))
    client.models()
    client.models()
    assert seen == ["Bearer one", "Bearer two"]


def test_a_public_key_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="public key"):
        Client("https://enso.example", key="pk_x")


def test_events_that_could_not_be_sent_stay_and_go_with_the_next_ones() -> None:
    way = Way(*[503] * QUICK.attempts, 201, 201)
    batch = way.client.feedback_batch(size=2, seconds=600)
    batch.add(CLICK)
    with pytest.raises(enso_client.ServerError):
        batch.flush()
    assert len(batch) == 1
    batch.close()
    assert len(batch) == 0


def test_a_full_buffer_says_so_instead_of_growing() -> None:
    batch = Way(*[503] * 999).client.feedback_batch(size=5, seconds=600, most=5)
    for _ in range(5):
        batch.add(Event("order-7", "click"))
    with pytest.raises(BufferFull):
        batch.add(CLICK)
    batch._waiting.clear()
    batch.close()


def test_a_time_without_a_zone_is_refused_when_it_is_added() -> None:
    batch = Way().client.feedback_batch()
    with pytest.raises(ValueError, match="time zone"):
        batch.add(Event("order-7", "click", occurred_at=datetime(2026, 1, 31)))
    batch.close()


# --- the customer's token -------------------------------------------------------------------------------------------


@given(customer=st.text(min_size=1, max_size=200).filter(lambda c: c.encode("utf-8", "ignore").decode() == c))
def test_the_server_reads_what_the_client_signs(customer: str) -> None:
    secret = customers.signing_secret(server_secret=settings.SECRET_KEY, key_digest="d" * 64)
    signed = sign_customer(customer, secret=secret, lifetime=timedelta(hours=1))
    if len(signed) <= customers.MAX_TOKEN:
        assert customers.customer_of(signed, secrets=[secret], now=time.time()) == customer


@pytest.mark.parametrize(
    "bad", [{"customer": ""}, {"customer": "x" * 201}, {"lifetime": timedelta(days=32)}, {"lifetime": timedelta(0)}]
)
def test_a_token_that_would_not_count_is_not_made(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"may be good|characters"):
        sign_customer(bad.pop("customer", "c-1"), secret="s", **bad)


# --- installed by itself --------------------------------------------------------------------------------------------


def test_it_installs_alone_and_needs_httpx_only(tmp_path: Path) -> None:
    source = tmp_path / "source"
    Run = Callable[..., subprocess.CompletedProcess[str]]
    run: Run = lambda *a: subprocess.run(a, capture_output=True, text=True, check=True, cwd=tmp_path)  # noqa: E731
    run("cp", "-r", str(ROOT / "clients" / "python"), str(source))
    alone = ["--no-index", "--no-deps", "--no-build-isolation", "-q", "--target", str(tmp_path / "site")]
    run(sys.executable, "-m", "pip", "install", *alone, str(source))
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import enso_client, pathlib;"
        "print(pathlib.Path(enso_client.__file__).with_name('py.typed').exists(),"
        " sorted({m.split('.')[0] for m in sys.modules} & {'django', 'msgspec', 'feedback', 'celery', 'httpx'}))"
    )
    assert run(sys.executable, "-c", program).stdout.strip() == "True ['httpx']"
