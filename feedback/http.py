"""The edge of the plain Django endpoints (the hot paths): keys, msgspec validation, problem+json, no session, no CSRF."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from psycopg_pool import PoolTimeout

from feedback import limits
from feedback.keys import Principal, principal_of
from feedback.problems import Problem, internal_error, not_storable, problem_response, request_id, unavailable

T = TypeVar("T")
View = Callable[..., HttpResponseBase]
MAX_BODY = 8 * 2**20
_AT = re.compile(r" - at `\$?\.?(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`")


def endpoint(*methods: str, scope: str, cost: float = 1.0) -> Callable[[View], View]:
    """A plain view `(request, principal, …)` behind a key with `scope`; every error leaves as problem+json.

    A request costs `cost` units of the key's limit; a view that does more work for a larger body calls `limits.spend`.
    """

    def admit(request: HttpRequest) -> Principal:
        principal = _admit(request, methods, scope)
        limits.spend(request, principal, cost)
        return principal

    return guard(admit, (methods, scope))


def guard(admit: Callable[[HttpRequest], Any], described: tuple[tuple[str, ...], str]) -> Callable[[View], View]:
    """A plain view `(request, caller, …)` whose caller `admit` finds; errors, limits and the request id are said alike."""

    def decorate(view: View) -> View:
        @csrf_exempt  # a key in a header is not sent by a browser on its own
        @functools.wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                response = view(request, admit(request), *args, **kwargs)
                response["X-Request-Id"] = request_id(request)
            except Problem as problem:
                response = problem_response(request, problem)
            except (OperationalError, InterfaceError, PoolTimeout):
                response = problem_response(request, unavailable())
            except DataError:
                response = problem_response(request, not_storable())
            except Exception:
                response = internal_error(request)
            return limits.mark(request, response)

        guarded.enso_endpoint = described  # type: ignore[attr-defined]
        return guarded

    return decorate


def _admit(request: HttpRequest, methods: tuple[str, ...], scope: str) -> Principal:
    if request.method not in methods:
        raise Problem(405, "method-not-allowed", f"Use {' or '.join(methods)} here.")
    principal = principal_of(request)
    principal.require(scope)
    return principal


def read_body(request: HttpRequest) -> bytes:
    declared = request.META.get("CONTENT_LENGTH") or "0"
    if declared.isdigit() and int(declared) > MAX_BODY:
        raise Problem(413, "too-large", f"The body may have up to {MAX_BODY // 2**20} MiB.")
    return bytes(request.body)


def decode(body: bytes, shape: type[T]) -> T:
    """Body → `shape`; 400 when it is no JSON, 422 naming the field when it does not fit."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise explain(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "malformed", f"The body is no valid JSON: {error}.") from error


def decode_parsed(data: Any, shape: type[T]) -> T:
    """The same for a body that DRF has parsed already. No body is an empty object; ``null``, ``0`` or ``[]`` are not."""
    try:
        body = msgspec.json.encode(data)
    except (UnicodeEncodeError, OverflowError, RecursionError) as error:
        raise Problem(400, "malformed", f"The body is no JSON that can be kept: {error}.") from error
    return decode(body, shape)


def explain(error: msgspec.ValidationError) -> Problem:
    """msgspec's message as (field, sentence)."""
    message = str(error)
    path = ""
    if at := _AT.search(message):
        path, message = at["path"], message[: at.start()]
    if unknown := _UNKNOWN.search(message):
        field = ".".join(p for p in (path, unknown["field"]) if p)
        return Problem(
            422,
            "unknown-field",
            f"There is no field {unknown['field']!r}. Remove it or check its spelling.",
            field=field,
        )
    if missing := _MISSING.search(message):
        field = ".".join(p for p in (path, missing["field"]) if p)
        return Problem(422, "missing-field", f"The field {missing['field']!r} is required.", field=field)
    return Problem(422, "invalid-field", f"{message}.", field=path or None)


def json_response(value: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(value), status=status, content_type="application/json")
