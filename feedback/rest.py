"""DRF views speak the same problem+json as the plain ones."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from rest_framework import exceptions, serializers
from rest_framework.response import Response
from rest_framework.views import exception_handler

from feedback.problems import CHALLENGE, CONTENT_TYPE, Problem, request_id


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


def drf_exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: every error of a DRF view becomes problem+json as well."""
    if isinstance(exc, Http404):
        exc = exceptions.NotFound()
    problem = exc if isinstance(exc, Problem) else from_drf(exc) if isinstance(exc, exceptions.APIException) else None
    if problem is None:
        return exception_handler(exc, context)
    rid = request_id(context["request"]._request)
    response = Response(problem.body(rid), status=problem.status, content_type=CONTENT_TYPE)
    response["X-Request-Id"] = rid
    if problem.retry_after is not None:
        response["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        response["WWW-Authenticate"] = CHALLENGE
    return response
