"""The OpenAPI document says everything that can be asked under /api/v1, and how."""

from __future__ import annotations

import pytest
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from config import schema as document
from feedback.described import known

HOW = (
    "is not in the OpenAPI document. A DRF view describes itself with @extend_schema; a plain view (@endpoint) is told by "
    "`describe(<URL name>, Described(...))` in the contract.py of its app, which config/schema.py imports."
)


@pytest.fixture(scope="module")
def openapi():
    return SchemaGenerator().get_schema(request=None, public=True)


@pytest.mark.parametrize("endpoint", document.endpoints(), ids=lambda e: e.path)
def test_every_endpoint_and_method_is_in_the_document(openapi, endpoint):
    item = openapi["paths"].get(endpoint.path, {})
    missing = [m for m in endpoint.methods if m not in item]
    assert endpoint.methods, f"{endpoint.path} answers to no method"
    assert not missing, f"{', '.join(missing).upper()} {endpoint.path} {HOW}"


def test_nothing_is_described_that_does_not_exist(openapi):
    paths = {e.path for e in document.endpoints()}
    assert set(openapi["paths"]) <= paths
    assert set(known) <= {e.name for e in document.endpoints()}


def test_the_document_is_valid(openapi):
    validate_schema(openapi)
    assert openapi["openapi"].startswith("3.1")


def operations(openapi):
    return [(p, m, o) for p, item in openapi["paths"].items() for m, o in item.items() if m in document.METHODS]


def test_every_operation_has_an_id_of_its_own_and_a_sentence(openapi):
    ids = [o["operationId"] for _, _, o in operations(openapi)]
    assert len(ids) == len(set(ids))
    silent = [(p, m) for p, m, o in operations(openapi) if not o.get("description", "").strip()]
    assert not silent, f"{silent} need a docstring: it is the description that API users read"


def test_every_operation_says_its_errors_as_problems_and_how_to_sign_in(openapi):
    for path, method, operation in operations(openapi):
        assert {"401", "403", "404", "422", "429", "503"} <= set(operation["responses"]), (path, method)
        assert "500" not in operation["responses"]
        assert "security" in operation, (path, method)
    problem = openapi["components"]["responses"]["Problem422"]
    assert list(problem["content"]) == ["application/problem+json"]


def test_a_plain_endpoint_shows_what_its_struct_takes(openapi):
    body = openapi["paths"]["/api/v1/inquiries"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/InquiryIn"}
    fields = openapi["components"]["schemas"]["InquiryIn"]
    assert fields["additionalProperties"] is False
    assert {"text", "external_id", "metadata", "dry_run"} <= set(fields["properties"])
    headers = {p["name"] for p in openapi["paths"]["/api/v1/inquiries"]["post"]["parameters"]}
    assert {"Idempotency-Key", "X-Request-Id"} <= headers


@pytest.mark.django_db
def test_the_document_is_served(client):
    answer = client.get("/api/schema?format=json", headers={"Accept": "application/vnd.oai.openapi+json"})
    assert answer.status_code == 200
    assert "/api/v1/inquiries" in answer.json()["paths"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "status"),
    [("nothing/here", 404), ("inquiries/no-uuid", 404), ("jobs?project=%00", 400), ("webhooks?project=%00", 400)],
)
def test_an_address_that_fits_nothing_is_a_problem_too(client, key, path, status):
    answer = client.get(f"/api/v1/{path}", headers={"Authorization": f"Api-Key {key}"})
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer["X-Request-Id"]
