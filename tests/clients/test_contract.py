"""Every request of the client exists in the OpenAPI document, with its fields; every method of both clients is the same."""

from __future__ import annotations

import inspect
import re
import typing
from datetime import UTC, datetime
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator
from enso_client import AsyncClient, Client, Event, answers, calls
from enso_client.calls import Call

ID = "01938c1e-0000-7000-8000-000000000000"
EVENT = Event("order-7", "comment", text="Good", customer="c-1", occurred_at=datetime.now(UTC))
CALLS: dict[str, Call] = {
    "inquire": calls.inquire(
        "Hello?", external_id="o", locale="en", customer="c", channel="web", metadata={"a": 1}, dry_run=True
    ),
    "inquiry": calls.inquiry(ID),
    "escalate": calls.escalate(ID, reason="angry"),
    "predict": calls.predict("Hello?", locale="en"),
    "predict_many": calls.predict_many(["Hello?"], locale="en")[0],
    "feedback": calls.feedback(EVENT),
    "feedback_many": calls.feedback_many([EVENT])[0],
    "agreement": calls.agreement(),
    "models": calls.models(),
    "promote": calls.promote(3),
    "rollback": calls.rollback(3),
    "jobs": calls.jobs(),
    "cancel_job": calls.cancel_job(3),
}
ANSWERS = {
    "inquire": answers.Answer, "inquiry": answers.Story, "escalate": answers.Escalation, "feedback": answers.Receipt,
}  # fmt: skip


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return SchemaGenerator().get_schema(request=None, public=True)


def operation(openapi: dict[str, Any], call: Call) -> dict[str, Any]:
    for path, item in openapi["paths"].items():
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", path), f"/api/v1/{call.path}") and call.method.lower() in item:
            return item[call.method.lower()]
    raise AssertionError(f"{call.method} {call.path} is not in the document")


def resolved(openapi: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def shapes(openapi: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas that a value may follow."""
    schema = resolved(openapi, schema)
    options = schema.get("oneOf") or schema.get("anyOf")
    return [s for o in options for s in shapes(openapi, o)] if options else [schema]


def fits(openapi: dict[str, Any], schema: dict[str, Any], value: Any) -> bool:
    """Whether one of the shapes has all fields of the value, and asks for none that it lacks."""
    for shape in shapes(openapi, schema):
        if isinstance(value, list) and shape.get("type") == "array":
            if all(fits(openapi, shape["items"], v) for v in value):
                return True
        elif isinstance(value, dict) and (shape.get("type") == "object" or "properties" in shape):
            known = shape.get("properties", {})
            if value.keys() <= known.keys() and set(shape.get("required", ())) <= value.keys():
                return True
    return False


@pytest.mark.parametrize("name", list(CALLS))
def test_each_request_is_in_the_document(openapi: dict[str, Any], name: str) -> None:
    call = CALLS[name]
    found = operation(openapi, call)
    if call.body is not None:
        schema = found["requestBody"]["content"]["application/json"]["schema"]
        assert fits(openapi, schema, call.body), f"{call.body} does not fit {schema}"


@pytest.mark.parametrize("name", list(ANSWERS))
def test_each_field_of_an_answer_is_in_the_document(openapi: dict[str, Any], name: str) -> None:
    found = operation(openapi, CALLS[name])["responses"]
    good = next(r for status, r in found.items() if status.startswith("2"))
    options = shapes(openapi, good["content"]["application/json"]["schema"])
    fields = set(typing.get_type_hints(ANSWERS[name]))
    assert any(fields <= set(o.get("properties", {})) for o in options), fields


def methods(client: type) -> dict[str, inspect.Signature]:
    return {n: inspect.signature(f) for n, f in inspect.getmembers(client, inspect.isfunction) if not n.startswith("_")}


def test_both_clients_offer_the_same() -> None:
    own, other = methods(Client), methods(AsyncClient)
    assert own.keys() - {"close"} == other.keys() - {"aclose"}
    for name in own.keys() - {"close", "feedback_batch"}:
        assert own[name].parameters == other[name].parameters, name


def test_every_method_is_held_to_the_document() -> None:
    assert methods(Client).keys() - {"close", "send", "feedback_batch"} == CALLS.keys()
