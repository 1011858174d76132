"""The OpenAPI document: what drf-spectacular finds, joined with the plain endpoints, and errors said alike everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.extensions import OpenApiAuthenticationExtension

from feedback import contract as _feedback_contract  # noqa: F401 - descriptions register by being imported
from feedback.described import REQUEST_ID, Described, Parameter, known
from feedback.problems import CONTENT_TYPE, TITLES
from labeling import contract as _labeling_contract  # noqa: F401
from serving import contract as _serving_contract  # noqa: F401

Document = dict[str, Any]
REF = "#/components/schemas/{name}"
PREFIX = "/api/v1/"
METHODS = ("get", "post", "put", "patch", "delete")
_ARGUMENT = re.compile(r"<(?:(\w+):)?(\w+)>")
_ARGUMENTS: dict[str, Document] = {
    "uuid": {"type": "string", "format": "uuid"},
    "int": {"type": "integer", "minimum": 0},
    "slug": {"type": "string", "pattern": "^[-a-zA-Z0-9_]+$"},
}
ANSWER_HEADERS = {
    "X-Request-Id": {"description": "Names this request in the log and in an error.", "schema": {"type": "string"}},
}
PROBLEM: Document = {
    "type": "object",
    "description": "An error (RFC 9457): `detail` says in a sentence what is wrong and what to do, `field` where.",
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"},
        "request_id": {"type": "string"}, "field": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail", "request_id"],
}  # fmt: skip


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """An app's key, or a service's token, in the Authorization header."""

    target_class = "feedback.keys.ApiKeyAuthentication"
    name = ["apiKey", "bearer"]

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[Any]]]:
        return [{"apiKey": []}, {"bearer": []}]

    def get_security_definition(self, auto_schema: Any) -> list[Document]:
        return [
            {
                "type": "apiKey", "in": "header", "name": "Authorization",
                "description": "`Authorization: Api-Key enso_…`; each endpoint needs a scope of the key.",
            },
            {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        ]  # fmt: skip


@dataclass(frozen=True)
class Endpoint:
    """A URL pattern under /api/v1."""

    path: str
    name: str
    view: Any
    arguments: tuple[tuple[str, str], ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """What it answers to, in lower case."""
        if plain := getattr(self.view, "enso_endpoint", None):
            return tuple(m.lower() for m in plain[0])
        return tuple(m for m in METHODS if hasattr(getattr(self.view, "cls", None), m))


def endpoints() -> list[Endpoint]:
    """Every endpoint under /api/v1, plain or DRF."""
    return [e for e in _walk(get_resolver().url_patterns, "/") if e.path.startswith(PREFIX)]


def _walk(patterns: Sequence[URLPattern | URLResolver], at: str) -> Iterator[Endpoint]:
    for pattern in patterns:
        here = at + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, here)
        else:
            arguments = tuple((name, kind or "str") for kind, name in _ARGUMENT.findall(here))
            yield Endpoint(_ARGUMENT.sub(r"{\2}", here), pattern.name or "", pattern.callback, arguments)


def complete(result: Document, generator: Any, request: Any, public: bool) -> Document:
    """drf-spectacular's hook: add the plain endpoints, the errors and the request id."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas |= msgspec.json.schema_components(_types(), ref_template=REF)[1]
    schemas["Problem"] = PROBLEM
    result["components"]["responses"] = {f"Problem{status}": _problem(status) for status in TITLES}
    for endpoint in endpoints():
        for described in known.get(endpoint.name, []):
            if described.method in endpoint.methods:
                result["paths"].setdefault(endpoint.path, {})[described.method] = _operation(endpoint, described)
    for path, item in result["paths"].items():
        for method in METHODS:
            if method in item:
                _say_errors(item[method], path)
    result["paths"] = dict(sorted(result["paths"].items()))
    return result


def _types() -> list[Any]:
    answers = [a for many in known.values() for d in many for a in d.answers.values()]
    shapes = [s for many in known.values() for d in many for s in d.bodies.values()]
    shapes += [s for a in answers for s in (a.values() if isinstance(a, dict) else [a])]
    return [t for shape in shapes for t in (shape if isinstance(shape, tuple) else (shape,)) if t is not None]


def _schema(shape: Any) -> Document:
    if isinstance(shape, tuple):
        return {"anyOf": [_schema(one) for one in shape]}
    return dict(msgspec.json.schema_components([shape], ref_template=REF)[0][0])


def _operation(endpoint: Endpoint, d: Described) -> Document:
    operation: Document = {
        "operationId": f"{endpoint.name}_{d.method}".replace("-", "_"),
        "description": (endpoint.view.__doc__ or "").strip(),
        "tags": [d.tag],
        "parameters": [
            {
                "in": "path",
                "name": name,
                "required": True,
                "schema": _ARGUMENTS.get(kind, {"type": "string", "minLength": 1}),
            }
            for name, kind in endpoint.arguments
        ]
        + [_parameter(p) for p in d.parameters],
        "security": [{name: []} for name in d.security],
        "responses": {str(status): _answer(shape, d.answer_media) for status, shape in d.answers.items()},
    }
    if d.bodies:
        content = {media: {"schema": _schema(shape)} for media, shape in d.bodies.items()}
        operation["requestBody"] = {"content": content, "required": d.body_required}
    return operation


def _answer(shape: Any, media: Sequence[str]) -> Document:
    if shape is None:
        return {"description": "No body."}
    shapes = shape if isinstance(shape, dict) else dict.fromkeys(media, shape)
    return {"description": "", "content": {one: {"schema": _schema(of)} for one, of in shapes.items()}}


def _parameter(p: Parameter) -> Document:
    return {"in": p.place, "name": p.name, "description": p.about, "required": p.required, "schema": p.schema}


def _say_errors(operation: Document, path: str) -> None:
    """Every error is a problem; every answer carries its request id."""
    responses = operation.setdefault("responses", {})
    for answer in responses.values():
        answer.setdefault("headers", {}).update(ANSWER_HEADERS)
    for status in _errors(operation, path):
        responses.setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
    parameters = operation.setdefault("parameters", [])
    if all(p.get("name") != REQUEST_ID.name for p in parameters):
        parameters.append(_parameter(REQUEST_ID))


def _errors(operation: Document, path: str) -> list[int]:
    statuses = {400, 401, 403, 404, 405, 406, 422, 429, 503}
    if "requestBody" in operation:
        statuses |= {409, 413, 415}
    if "{" in path:
        statuses.add(409)
    return sorted(statuses)


def _problem(status: int) -> Document:
    wait = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}}
    return {
        "description": TITLES[status],
        "content": {CONTENT_TYPE: {"schema": {"$ref": REF.format(name="Problem")}}},
        "headers": {**ANSWER_HEADERS, **(wait if status in (409, 429, 503) else {})},
    }
