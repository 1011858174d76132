"""The edge of the endpoints that people's hands wait for: session and CSRF, without the rest of the middleware.

Who calls, and where they label, is one statement. It names the person whom the session belonged to when it was last seen and
brings the session along: what it says is then checked as Django checks it, and where the two differ Django finds the person.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import translation
from django.utils.crypto import constant_time_compare
from rest_framework.authentication import CSRFCheck

from feedback.http import View, guard
from feedback.models import User
from feedback.problems import Problem
from labeling import hot

# Sessions whose person is remembered; it is a hint, so that forgetting costs a statement and nothing else.
REMEMBERED = 10_000

_SESSION = """
SELECT s.session_data, u.password FROM django_session s, feedback_user u
WHERE s.session_key = %(session)s AND s.expire_date > now() AND u.id = %(user)s AND u.is_active
"""
_PLACES = """
SELECT p.id, p.slug, p.lease_seconds, p.gold_rate, array_agg(m.role::text)
FROM feedback_membership m JOIN feedback_project p ON p.id = m.project_id
WHERE m.user_id = %(user)s GROUP BY p.id ORDER BY p.id
"""
# Both at once: a row per project, and one without a project for somebody who has none.
_BOTH = f"""
SELECT s.session_data, s.password, p.* FROM ({_SESSION}) s LEFT JOIN ({_PLACES}) p ON true
"""  # noqa: S608 - composed of constants


@dataclass(frozen=True)
class Place:
    """A person's place in a project: their roles, and the settings that a claim needs."""

    project_id: int
    slug: str
    lease_seconds: int
    gold_rate: float
    roles: frozenset[str]


@dataclass(frozen=True)
class Caller:
    """A signed-in person and the projects that they are a member of, oldest first."""

    pk: int
    places: tuple[Place, ...]

    def place(self, slug: str | None) -> Place | None:
        """The project named, or their first."""
        return next((p for p in self.places if slug is None or p.slug == slug), None)

    def place_in(self, project_id: int) -> Place:
        return next(p for p in self.places if p.project_id == project_id)

    @property
    def project_ids(self) -> list[int]:
        return [p.project_id for p in self.places]


def person_endpoint(*methods: str) -> Callable[[View], View]:
    """A plain view `(request, caller, …)` for a signed-in person, in their language; every error leaves as problem+json."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def translated(request: HttpRequest, caller: Caller, *args: Any, **kwargs: Any) -> HttpResponseBase:
            with translation.override(translation.get_language_from_request(request)):
                return view(request, caller, *args, **kwargs)

        return guard(functools.partial(_admit, methods=methods), (methods, "person"))(translated)

    return decorate


def _nothing(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


_csrf = CSRFCheck(_nothing)


def _admit(request: HttpRequest, methods: tuple[str, ...]) -> Caller:
    if request.method not in methods:
        raise Problem(405, "method-not-allowed", f"Use {' or '.join(methods)} here.")
    if request.headers.get("Authorization"):
        raise Problem(403, "not-allowed", "Sign in as a person: an app's key cannot do this.")
    caller = _known(request) or _found(request)
    _csrf.process_request(request)
    reason = _csrf.process_view(request, _nothing, (), {})
    if reason:
        raise Problem(403, "csrf", f"CSRF Failed: {reason}")
    return caller


_persons: dict[str, int] = {}


def _known(request: HttpRequest) -> Caller | None:
    """The caller by the session that was seen before; None where the session does not say so any more."""
    session = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    user_id = _persons.get(session)
    if user_id is None:
        return None
    rows = hot.rows(_BOTH, {"session": session, "user": user_id})
    if not rows or not _vouches(rows[0][0], user_id, rows[0][1]):
        _persons.pop(session, None)
        return None
    return Caller(user_id, _places(row[2:] for row in rows))


def _vouches(data: str, user_id: int, password: str) -> bool:
    """Whether a session is the person's, and as old as their password at most (django.contrib.auth.get_user)."""
    said = _decoded(data)
    now = User(pk=user_id, password=password).get_session_auth_hash()
    return (
        said.get(SESSION_KEY) == str(user_id)
        and said.get(BACKEND_SESSION_KEY) in settings.AUTHENTICATION_BACKENDS
        and constant_time_compare(str(said.get(HASH_SESSION_KEY)), now)
    )


@functools.lru_cache(REMEMBERED)
def _decoded(data: str) -> dict[str, Any]:
    """What a session holds: its signature is checked once."""
    found: dict[str, Any] = SessionStore().decode(data)
    return found


def _found(request: HttpRequest) -> Caller:
    """The caller as Django finds them. Raises 401."""
    if not hasattr(request, "session"):
        request.session = SessionStore(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
    user = get_user(request)
    if not isinstance(user, User) or not user.is_active:
        raise Problem(401, "not-authenticated", "Sign in as a person.")
    if len(_persons) >= REMEMBERED:
        _persons.clear()
    if request.session.session_key:
        _persons[request.session.session_key] = user.pk
    return Caller(user.pk, _places(hot.rows(_PLACES, {"user": user.pk})))


def _places(rows: Any) -> tuple[Place, ...]:
    return tuple(Place(row[0], row[1], row[2], row[3], frozenset(row[4])) for row in rows if row[0] is not None)
