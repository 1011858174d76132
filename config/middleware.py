"""Middleware of the composition root."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.db import close_old_connections, connection
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, ResolverMatch, resolve

from config.observability import REQUESTS, SECONDS
from feedback import logs
from feedback.audit import acting
from feedback.metric_files import count, observe
from feedback.problems import Problem, problem_response, request_id
from serving import request_log

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Handler = Callable[[HttpRequest], HttpResponse]

POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; font-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
)
# The back office is built on Alpine, which evaluates expressions and writes styles; superusers alone open it, and it shows no
# customer's text.
BACK_OFFICE_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'").replace(
    "script-src 'self'", "script-src 'self' 'unsafe-eval'"
)


STATIC, LOGGED = "/static/", "/api/v1/"
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
# Where plain endpoints may lie; every other path is a page's.
FAST = ("/api/", "/feedback", "/enso.js", "/metrics")
# Those that are asked more often than all others together, and answer in one piece.
DIRECT = frozenset({"/api/v1/predict", "/api/v1/inquiries"})


class Measured:
    """Every request by endpoint, method and status, and how long it took; its id is known to all that follows."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        request_log.note(None)
        with logs.request(request_id(request)):
            response = self.get_response(request)
        seconds = time.perf_counter() - began
        name, method = _endpoint(request), str(request.method if request.method in METHODS else "other")
        count(REQUESTS, (name, method, str(response.status_code)))
        observe(SECONDS, (name,), seconds)
        if settings.ENSO_REQUEST_LOG and request.path_info.startswith(LOGGED):
            request_log.add(
                request_id=request_id(request),
                endpoint=name,
                method=method,
                status=response.status_code,
                seconds=seconds,
            )
        return response


def _endpoint(request: HttpRequest) -> str:
    """The name of its URL: never the address itself, which anybody may make up."""
    if match := getattr(request, "resolver_match", None):
        return match.url_name or "unnamed"
    return "static" if request.path_info.startswith(STATIC) else "unmatched"


_fixed: dict[str, ResolverMatch] = {}


def _found(path: str) -> ResolverMatch:
    """What answers a path. Paths without parameters are looked up once: there are only as many as the configuration has."""
    if (known := _fixed.get(path)) is not None:
        return known
    match = resolve(path)
    if not match.args and not match.kwargs:
        _fixed[path] = match
    return match


class ApiFastPath:
    """The plain endpoints carry their own authentication: sessions, CSRF, locale and messages are not for them."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(FAST):
            return self.get_response(request)
        if "%00" in request.META.get("QUERY_STRING", "") or "\x00" in request.path_info:
            return problem_response(request, Problem(400, "malformed", "The address holds a NUL character: remove it."))
        try:
            match = _found(request.path_info)
        except Resolver404:
            return problem_response(request, Problem(404, "not-found", "There is no such endpoint: see /api/docs."))
        if not hasattr(match.func, "enso_endpoint"):
            response = self.get_response(request)
            response.headers.setdefault("X-Request-Id", request_id(request))
            return response
        request.resolver_match = match
        return plainly(request)


def plainly(request: HttpRequest) -> HttpResponse:
    """The answer of the plain endpoint that the request was resolved to."""
    match = request.resolver_match
    assert match is not None
    plain: HttpResponse = match.func(request, *match.args, **match.kwargs)
    if not plain.streaming:  # the server would otherwise send an answer of one piece in chunks
        plain.headers.setdefault("Content-Length", str(len(plain.content)))
    return plain


class Direct:
    """The WSGI application; plain endpoints without parameters are answered without Django's handler around them.

    What that leaves out for them is what they have no use for: the chain of middleware, the signals around each request and
    the URL configuration of a thread. Of what the signals do a plain endpoint needs one thing, that its thread gives a
    database connection back, where it used one. Everything else goes the usual way.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self.application = application
        self.measured = Measured(plainly)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match = self._match(environ)
        if match is None:
            return self.application(environ, start_response)
        request = WSGIRequest(environ)
        request.resolver_match = match
        try:
            response = self.measured(request)
        finally:
            if connection.connection is not None:
                close_old_connections()
        if response.streaming or response.cookies:
            raise TypeError(f"{match.route} streams or sets a cookie: it is no endpoint of one piece")
        start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
        return (response.content,)

    @staticmethod
    def _match(environ: WSGIEnvironment) -> ResolverMatch | None:
        if environ.get("SCRIPT_NAME") or environ["PATH_INFO"] not in DIRECT or "%00" in environ.get("QUERY_STRING", ""):
            return None
        return _found(environ["PATH_INFO"])


class Acting:
    """Whoever changes something is named in the audit: the signed-in person, or (added by the key's own check) the key."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return self.get_response(request)
        with acting(user=request.user.pk, request=request_id(request)):
            return self.get_response(request)


class ContentSecurityPolicy:
    """No inline script, nothing from elsewhere."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        # The API's documentation page brings an inline bootstrap of its own; it shows no customer's text.
        if not request.path_info.startswith("/api/docs"):
            office = request.path_info.startswith("/admin/")
            response.headers.setdefault("Content-Security-Policy", BACK_OFFICE_POLICY if office else POLICY)
        return response
