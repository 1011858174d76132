"""Errors as `application/problem+json` (RFC 9457): a type, a sentence for a person, the field and a request id."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse

log = logging.getLogger(__name__)
CONTENT_TYPE = "application/problem+json"
# RFC 9110 §11.6.1: the ways to prove who is calling.
CHALLENGE = "Api-Key, Bearer"
TITLES = {
    400: "Malformed request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Invalid field",
    429: "Too many requests",
    500: "Internal error",
    503: "Temporarily unavailable",
}


class Problem(Exception):
    """A refusal that names what is wrong and what to do. Raised anywhere, rendered at the edge."""

    def __init__(
        self, status: int, kind: str, detail: str, *, field: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.field, self.retry_after = status, kind, detail, field, retry_after

    def body(self, request_id: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": f"urn:enso:problem:{self.kind}",
            "title": TITLES.get(self.status, "Error"),
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.field is not None:
            body["field"] = self.field
        return body


def invalid(field: str, detail: str) -> Problem:
    return Problem(422, "invalid-field", detail, field=field)


def not_found(what: str) -> Problem:
    return Problem(404, "not-found", f"There is no such {what} in this project.")


def not_storable() -> Problem:
    """For a value that passed every check and that the database still refuses: the last line of defence, never the first."""
    return Problem(
        422,
        "not-storable",
        "A value cannot be stored: a NUL character, or a number or time out of range. Nothing was changed.",
    )


def unavailable() -> Problem:
    return Problem(
        503, "unavailable", "The database cannot be reached. Nothing was stored: send this again.", retry_after=2
    )


def request_id(request: HttpRequest) -> str:
    """The caller's `X-Request-Id` where it is a plain token, else a new one; the same throughout one request."""
    known = getattr(request, "enso_request_id", None)
    if known is None:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        plain = 0 < len(given) <= 64 and given.replace("-", "").replace("_", "").isalnum() and given.isascii()
        known = given if plain else uuid.uuid4().hex
        request.enso_request_id = known  # type: ignore[attr-defined]
    return str(known)


def problem_response(request: HttpRequest, problem: Problem) -> HttpResponse:
    rid = request_id(request)
    response = HttpResponse(msgspec.json.encode(problem.body(rid)), status=problem.status, content_type=CONTENT_TYPE)
    response["X-Request-Id"] = rid
    if problem.retry_after is not None:
        response["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        response["WWW-Authenticate"] = CHALLENGE
    return response


def internal_error(request: HttpRequest) -> HttpResponse:
    """500 with an id to look for in the log; the log line carries the traceback, the answer does not."""
    log.exception("unhandled error, request %s", request_id(request))
    return problem_response(request, Problem(500, "internal", "Something went wrong on our side. Nothing was changed."))
