"""The edge of the endpoints that people's hands wait for: session, CSRF and problem+json, without the rest of the middleware."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.views.decorators.csrf import csrf_exempt
from psycopg_pool import PoolTimeout
from rest_framework.authentication import CSRFCheck

from feedback.models import User
from feedback.problems import Problem, internal_error, problem_response, request_id, unavailable

View = Callable[..., HttpResponse]


def person_endpoint(*methods: str) -> Callable[[Callable[..., HttpResponse]], View]:
    """A plain view `(request, user, …)` for a signed-in person; every error leaves as problem+json."""

    def decorate(view: Callable[..., HttpResponse]) -> View:
        @csrf_exempt  # checked below, after the session: the middleware is not run for these paths
        @functools.wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                user = _admit(request, methods)
                with translation.override(translation.get_language_from_request(request)):
                    response = view(request, user, *args, **kwargs)
            except Problem as problem:
                return problem_response(request, problem)
            except (OperationalError, InterfaceError, PoolTimeout):
                return problem_response(request, unavailable())
            except Exception:
                return internal_error(request)
            response["X-Request-Id"] = request_id(request)
            return response

        guarded.enso_endpoint = (methods, "person")  # type: ignore[attr-defined]
        return guarded

    return decorate


def _nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def _admit(request: HttpRequest, methods: tuple[str, ...]) -> User:
    if request.method not in methods:
        raise Problem(405, "method-not-allowed", f"Use {' or '.join(methods)} here.")
    if request.headers.get("Authorization"):
        raise Problem(403, "not-allowed", "Sign in as a person: an app's key cannot do this.")
    if not hasattr(request, "session"):
        request.session = SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    user = get_user(request)
    if not isinstance(user, User) or not user.is_active:
        raise Problem(401, "not-authenticated", "Sign in as a person.")
    check = CSRFCheck(_nothing)
    check.process_request(request)
    reason = check.process_view(request, _nothing, (), {})
    if reason:
        raise Problem(403, "csrf", f"CSRF Failed: {reason}")
    return user
