"""DRF views speak the same problem+json as the plain ones."""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404
from psycopg_pool import PoolTimeout
from rest_framework import exceptions, serializers
from rest_framework.parsers import JSONParser
from rest_framework.response import Response

from feedback.problems import CHALLENGE, CONTENT_TYPE, Problem, not_storable, request_id, unavailable

log = logging.getLogger(__name__)


class BoundedJSONParser(JSONParser):
    """JSON that is nested deeper than Python goes is malformed, not a failure of the server."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise exceptions.ParseError("The JSON is nested too deeply.") from error


class StrictSerializer(serializers.Serializer[Any]):
    """Unknown fields are an error, never dropped."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, dict) else []
        if unknown:
            raise serializers.ValidationError(
                {unknown[0]: f"There is no field {unknown[0]!r}. Remove it or check its spelling."}
            )
        return super().to_internal_value(data)


def from_drf(exc: exceptions.APIException) -> Problem:
    """The first field and sentence of a DRF error, as a Problem."""
    retry = getattr(exc, "wait", None)
    field, detail = _first(exc.detail)
    status = 422 if isinstance(exc, exceptions.ValidationError) else exc.status_code
    kind = "invalid-field" if status == 422 else str(exc.default_code).replace("_", "-")
    return Problem(status, kind, detail, field=field, retry_after=int(retry) + 1 if retry else None)


def _first(detail: Any, field: str | None = None) -> tuple[str | None, str]:
    if isinstance(detail, dict) and detail:
        key = next(iter(detail))
        inner = None if key == "non_field_errors" else f"{field}.{key}" if field else str(key)
        return _first(detail[key], inner)
    if isinstance(detail, list) and detail:
        return _first(detail[0], field)
    return field, str(detail)


def _problem_of(exc: Exception, rid: str) -> Problem:
    if isinstance(exc, Problem):
        return exc
    if isinstance(exc, PermissionDenied):
        return Problem(403, "permission-denied", str(exc) or "You may not do this.")
    if isinstance(exc, exceptions.APIException):
        return from_drf(exc)
    if isinstance(exc, OperationalError | InterfaceError | PoolTimeout):
        return unavailable()
    if isinstance(exc, DataError):
        return not_storable()
    log.error("unhandled error, request %s", rid, exc_info=exc)
    return Problem(500, "internal", "Something went wrong on our side. Nothing was changed.")


def drf_exception_handler(exc: Exception, context: dict[str, Any]) -> Response:
    """DRF's hook: every error of a DRF view becomes problem+json as well."""
    if isinstance(exc, Http404):
        exc = exceptions.NotFound()
    rid = request_id(context["request"]._request)
    problem = _problem_of(exc, rid)
    response = Response(problem.body(rid), status=problem.status, content_type=CONTENT_TYPE)
    response["X-Request-Id"] = rid
    if problem.retry_after is not None:
        response["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        response["WWW-Authenticate"] = CHALLENGE
    return response
