"""What the plain endpoints take and give, for the OpenAPI document: DRF views describe themselves, these are told here.

Each app says it in its `contract.py`, by the name of the URL; config/schema.py turns it into the document. A test fails
for an endpoint under /api/v1 that nobody has described.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"


@dataclass(frozen=True)
class Parameter:
    """A header or query parameter; `schema` as JSON Schema."""

    name: str
    place: str
    about: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False


@dataclass(frozen=True)
class Described:
    """One method of one endpoint. `bodies` and `answers` hold msgspec types, by media type and by status.

    A tuple of types means any of them; an answer of None has no body, one that differs by media type is a dict of them.
    """

    method: str
    tag: str
    bodies: dict[str, Any] = field(default_factory=dict)
    answers: dict[int, Any] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    answer_media: tuple[str, ...] = (JSON,)
    body_required: bool = True
    security: tuple[str, ...] = ("apiKey", "bearer")


IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key", "header", "The same key and body gets the same answer; another body gets 409.",
    {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
)  # fmt: skip
REQUEST_ID = Parameter(
    "X-Request-Id",
    "header",
    "Comes back in the answer where it is a plain token; else one is made.",
    {"type": "string"},
)

known: dict[str, list[Described]] = {}


def describe(name: str, described: Described) -> None:
    """Describe a method of the endpoint whose URL has this name; telling it again replaces what was told."""
    known[name] = [d for d in known.get(name, []) if d.method != described.method] + [described]
