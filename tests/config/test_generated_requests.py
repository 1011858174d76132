"""Requests made up from the OpenAPI document, well-formed and not, against the WSGI application on a real database.

Drawing a request from the document costs more than answering it. So each that was drawn is sent, and then again with
values in it that break programs (`HOSTILE`), which costs nothing to make. No answer is a 5xx, every answer fits the
document, what the document forbids is refused, and in the end nothing lies in the database that the schema forbids.
"""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import schemathesis
from django.apps import apps
from django.core.exceptions import ValidationError
from django.test import Client
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from config.schema import endpoints
from config.wsgi import application
from feedback.http import decode
from feedback.masking import mask
from feedback.models import Event, Inquiry, Project, Role
from feedback.texts import fault_in
from labeling.models import LabelTask
from serving.api import MAX_METADATA, InquiryIn
from tests.conftest import make_key, make_person

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance, negative_data_rejection,
]  # fmt: skip
ROUNDS = 2  # the second knows the ids of the first
# What much else hangs on, and what has the most to be wrong about.
OFTEN = {"/api/v1/feedback", "/api/v1/inquiries"}
VARIANTS = 3
JSON = "application/json"
LINES = ("application/x-ndjson", "text/csv", "application/octet-stream")
HOSTILE: list[Any] = [
    "\x00", "a\x00b", "\ud800", "\U0010ffff\ufffe", "\u202e\u200b", "x" * 9_000, "", " ", "Ａ１＠", None, True, [], {}, [[]],
    0, -1, 2**31, 2**63 - 1, 2**63, 10**40, 10**400, 1e308, float("inf"), float("-inf"), float("nan"), -0.0, 1e-320,
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31", "0000-00-00", "2024-02-30", "Infinity", "1" * 5_000,
    "../../etc/passwd", "%00", "'; --", "MHxn", "OTk5OS0xMi0zMVQyMzo1OTo1OS0xNDowMHwx", "https://[::1", "file:///etc/passwd",
    {"a": {"\x00": "\x00"}}, ["\x00"], [None], [2**64], {"": ""}, {"text": "x", "unknown": 1},
]  # fmt: skip
RAW = [
    b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 20_000, b'{"text":"\\ud800"}', b"1e999", b"NaN",
    b'{"a":1,"a":2}', b'"\\u0000"', b"\xef\xbb\xbf{}", b"-" + b"9" * 5_000,
]  # fmt: skip
MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]


APPS = {e.path for e in endpoints() if getattr(e.view, "enso_endpoint", ((), "person"))[1] != "person"}
WORTH_KNOWING = {"project", "category", "inquiry", "token", "url"}


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """A value a line, and a body that is no list as one line."""
    return b"\n".join(json.dumps(one).encode() for one in (value if isinstance(value, list) else [value]))


def _merged(credentials: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    if not raw:
        return credentials
    return {**credentials, **raw, "headers": {**credentials.get("headers", {}), "Content-Type": JSON}}


@dataclass
class World:
    """Who asks, and what they have seen: ids from earlier answers make later requests reach further."""

    key: str
    person: Client
    seen: dict[str, list[Any]] = field(
        default_factory=lambda: {
            "project": ["shop"],
            "category": ["refund", "delivery", "fraud"],
            "number": [1],
            "url": ["https://127.0.0.1:9/hook"],
        }
    )
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def credentials(self, who: str) -> dict[str, dict[str, str]]:
        if who == "app":
            return {"headers": {"Authorization": f"Api-Key {self.key}"}}
        if who == "person":
            cookies = {name: morsel.value for name, morsel in self.person.cookies.items()}
            return {"headers": {"X-CSRFToken": cookies["csrftoken"]}, "cookies": cookies}
        return {}

    def send(self, case: Any, who: str, **raw: Any) -> Any:
        answer = case.call(**_merged(self.credentials(who), raw))
        self.statuses[answer.status_code] += 1
        self.note(answer)
        return answer

    def note_fault(self, case: Any, answer: Any, fault: Exception) -> None:
        told = "; ".join(f"{type(f).__name__}: {f}" for f in getattr(fault, "exceptions", [fault]))
        place = f"{case.method} {case.path} {case.path_parameters!r} {case.query!r} {answer.status_code}"
        self.faults.append(f"{place} {case.body!r}: {told} {answer.text}"[:3000])

    def note(self, answer: Any) -> None:
        if answer.status_code not in (200, 201) or answer.headers["content-type"] != ["application/json"]:
            return
        body = answer.json()
        if not isinstance(body, dict):
            return
        task = body["task"] if isinstance(body.get("task"), dict) else {}
        lease = body["lease"] if isinstance(body.get("lease"), dict) else {}
        stored = body.get("id") if "decision" in body else None
        for name, value in (
            ("inquiry_id", stored),
            ("inquiry", stored),
            ("webhook_id", body.get("id") if "secret" in body else None),
            ("task_id", task.get("id")),
            ("token", lease.get("token")),
        ):
            if value is not None:
                self.seen.setdefault(name, []).append(value)


@pytest.fixture
def world(transactional_db, project, settings):
    settings.ENSO_OUTBOUND_ALLOW = ["127.0.0.1"]
    Project.objects.update(limit_per_minute=None, audit_rate=0.2, answers_by_hand=True, overlap=2)
    person = make_person(project, "everyone", *Role.values)
    browser = Client()
    browser.force_login(person)
    browser.cookies["csrftoken"] = "a" * 32
    return World(make_key(project), browser)


def ask_all(world: World, total: int) -> None:
    # The real credentials are added by `ask`; made-up ones would only stand in their way.
    config = schemathesis.Config.from_dict({"generation": {"with-security-parameters": False}})
    document = schemathesis.openapi.from_wsgi("/api/schema?format=json", application, config=config)
    operations = [o.ok() for o in document.get_all_operations()]
    # Only a body has much to be wrong about: a path that does not fit is another URL.
    ways = [(o, mode) for o in operations for mode in MODES if o.body or mode == schemathesis.GenerationMode.POSITIVE]
    for round_number in range(ROUNDS):
        for operation, mode in ways:
            often = 6 if operation.path in OFTEN else 1
            ask(world, operation, mode, often * (total // (ROUNDS * len(ways) * (1 + VARIANTS)) + 1), round_number)


def ask(world: World, operation: Any, mode: Any, count: int, round_number: int) -> None:
    positive = mode == schemathesis.GenerationMode.POSITIVE

    @seed(round_number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(mode), number=st.integers(0, 2**32))
    def one(case: Any, number: int) -> None:
        chance = random.Random(number)  # what is known may not decide about what hypothesis draws
        if positive:
            _use_what_was_seen(world, case, chance)
        right = "app" if operation.path in APPS else "person"
        who = chance.choice([right] * 8 + ["app", "person", "nobody"])
        for invented in ("Authorization", "Cookie"):  # generated credentials would hide the real ones
            case.headers.pop(invented, None)
        case.cookies.clear()
        answer = world.send(case, who)
        try:
            # A stream or file is taken whatever its lines are: each has its own result.
            streamed = case.media_type in LINES
            case.validate_response(
                answer, checks=[c for c in CHECKS if not streamed or c is not negative_data_rejection]
            )
        except (Failure, FailureGroup) as fault:
            world.note_fault(case, answer, fault)
        for _ in range(VARIANTS):
            send_hostile(world, case, chance, who)

    try:
        one()
    except Exception as error:
        if "Unsatisfiable" not in type(error).__name__:
            raise


def send_hostile(world: World, case: Any, chance: random.Random, who: str) -> None:
    """The same request with one thing in it changed for the worse: a value of the body, the query, the path or the body itself."""
    body = copy.deepcopy(case.body) if isinstance(case.body, dict | list) else case.body
    changed = case.operation.Case(
        method=case.method, path_parameters=dict(case.path_parameters or {}), query=dict(case.query or {}),
        headers=dict(case.headers or {}), body=body, media_type=case.media_type,
    )  # fmt: skip
    places = [p for p in (changed.body, changed.query, changed.path_parameters) if isinstance(p, dict) and p]
    raw: dict[str, Any] = {}
    if case.media_type == JSON and chance.random() < 0.15:
        raw = {"data": chance.choice(RAW)}
    elif places:
        place = chance.choice(places)
        value = chance.choice(HOSTILE)
        place[chance.choice(sorted(place))] = value if place is changed.body else _in_address(value)
    if case.media_type == JSON and not raw and isinstance(changed.body, dict | list):
        raw = {"data": json.dumps(changed.body).encode()}  # as it is: with NaN, Infinity and halves of pairs
    answer = world.send(changed, who, **raw)
    try:
        changed.validate_response(answer, checks=[c for c in CHECKS if c is not negative_data_rejection])
    except (Failure, FailureGroup) as fault:
        world.note_fault(changed, answer, fault)


def _in_address(value: Any) -> str:
    """A path segment or query value: no slash, which would be another address, and not empty."""
    return quote(str(value)[:2_000].encode("utf-8", "replace"), safe="") or "%00"


def _use_what_was_seen(world: World, case: Any, chance: random.Random) -> None:
    for name in case.path_parameters or {}:
        if (known := world.seen.get(name)) and chance.random() < 0.6:
            case.path_parameters[name] = chance.choice(known[-5:])
    for body in case.body if isinstance(case.body, list) else [case.body]:
        if isinstance(body, dict) and chance.random() < 0.8:
            for name in sorted(WORTH_KNOWING & set(body)):
                if known := world.seen.get(name):
                    body[name] = chance.choice(known[-5:])


@pytest.mark.timeout(3_600)
@pytest.mark.django_db(transaction=True)
def test_two_thousand_generated_requests_find_no_fault(world):
    run(world, 2_000)


@pytest.mark.soak
@pytest.mark.timeout(24 * 3_600)
@pytest.mark.django_db(transaction=True)
def test_a_hundred_thousand_generated_requests_find_no_fault(world):
    run(world, 100_000)


def run(world: World, total: int) -> None:
    ask_all(world, total)
    asked = sum(world.statuses.values())
    print(json.dumps({"asked": asked, "statuses": dict(sorted(world.statuses.items()))}))  # noqa: T201 - the figure of the soak
    assert not world.faults, f"{len(world.faults)} faults, such as:\n" + "\n\n".join(world.faults[:40])
    assert asked >= total * 0.9
    assert sum(n for s, n in world.statuses.items() if s < 300) > asked * 0.05, world.statuses
    assert Inquiry.objects.exists()
    assert Event.objects.exists()
    assert LabelTask.objects.exists()
    assert faults_in_database() == []


def faults_in_database() -> list[str]:
    """Everything stored that the models or the API's own schema forbid."""
    ours = [m for app in ("feedback", "labeling", "serving", "learning") for m in apps.get_app_config(app).get_models()]
    faults = [
        f"{model.__name__} {row.pk}: {fault}"
        for model in ours
        for row in model.objects.iterator()
        for fault in _faults(row)
    ]
    return faults + [f for i in Inquiry.objects.iterator() if (f := _inquiry_fault(i))]


def _faults(row: Any) -> list[str]:
    """What validation and constraints say; that a form would want a field filled in is no fault."""
    try:
        row.full_clean(validate_unique=False)
    except ValidationError as error:
        return [
            f"{name}: {e.messages}" for name, errors in error.error_dict.items() for e in errors if e.code != "blank"
        ]
    return []


def _inquiry_fault(row: Inquiry) -> str | None:
    given = {
        "text": row.text, "external_id": row.external_id, "locale": row.locale or None, "customer": row.customer or None,
        "channel": row.channel or None, "metadata": row.metadata,
    }  # fmt: skip
    encoded = msgspec.json.encode(given)
    decode(encoded, InquiryIn)
    if fault := fault_in(row.text):
        return f"{row.pk}: the text {fault}"
    if mask(row.text).text != row.text:
        return f"{row.pk}: holds personal data"
    return f"{row.pk}: large metadata" if len(msgspec.json.encode(row.metadata)) > MAX_METADATA else None
