"""The edge of the endpoints that people's hands wait for: session and CSRF, without the rest of the middleware."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import translation
from rest_framework.authentication import CSRFCheck

from feedback.http import View, guard
from feedback.models import User
from feedback.problems import Problem


def person_endpoint(*methods: str) -> Callable[[View], View]:
    """A plain view `(request, user, …)` for a signed-in person, in their language; every error leaves as problem+json."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def translated(request: HttpRequest, user: User, *args: Any, **kwargs: Any) -> HttpResponseBase:
            with translation.override(translation.get_language_from_request(request)):
                return view(request, user, *args, **kwargs)

        return guard(functools.partial(_admit, methods=methods), (methods, "person"))(translated)

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
