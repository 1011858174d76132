"""App keys: 256 random bits, of which only the SHA-256 is stored; key → principal is cached in process."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from feedback.models import ApiKey, ClientApp
from feedback.problems import Problem

SCOPES = (
    "inquiries:read", "inquiries:write", "feedback:write", "labels:read", "labels:write", "escalations:write", "models:admin",
)  # fmt: skip
# A revoked key stops working within this many seconds in every process.
CACHE_SECONDS = 10.0
CACHE_SIZE = 10_000


@dataclass(frozen=True)
class Principal:
    """Who is calling: a client app through one of its keys."""

    key_id: int
    app_id: int
    project_id: int
    project_slug: str
    scopes: frozenset[str]
    is_authenticated: bool = True

    @property
    def name(self) -> str:
        return f"app:{self.app_id}"

    def require(self, scope: str) -> None:
        if scope not in self.scopes:
            raise Problem(403, "missing-scope", f"This key lacks the scope {scope}. Create one that has it.")

    def require_project(self, slug: str | None) -> None:
        """A request may name its project; another one than the key's does not exist for this key."""
        if slug is not None and slug != self.project_slug:
            raise Problem(404, "not-found", f"There is no project {slug!r} for this key.", field="project")


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def create_key(*, app: ClientApp, scopes: list[str], expires_at: datetime | None = None) -> tuple[ApiKey, str]:
    """Store a new key and return it with its secret, which is not kept and cannot be shown again."""
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise ValueError(f"unknown scope {unknown[0]!r}: choose from {', '.join(SCOPES)}")
    secret = f"enso_{secrets.token_urlsafe(32)}"
    key = ApiKey.objects.create(
        app=app, prefix=secret[:12], digest=digest(secret), scopes=sorted(set(scopes)), expires_at=expires_at
    )
    return key, secret


class _Cache:
    """digest → (principal or None, when it must be looked up again)."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Principal | None, float]] = {}
        self._lock = threading.Lock()

    def get(self, secret: str) -> Principal | None:
        key = digest(secret)
        found = self._known.get(key)
        if found is not None and found[1] > time.monotonic():
            return found[0]
        principal = _look_up(key)
        with self._lock:
            if len(self._known) >= CACHE_SIZE:  # a flood of wrong keys must not grow the process
                self._known.clear()
            self._known[key] = (principal, time.monotonic() + CACHE_SECONDS)
        return principal

    def clear(self) -> None:
        with self._lock:
            self._known.clear()


cache = _Cache()


def _look_up(key_digest: str) -> Principal | None:
    now = timezone.now()
    valid = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now))
    key = (
        ApiKey.objects.filter(valid, digest=key_digest, app__project__archived_at=None)
        .select_related("app__project")
        .first()
    )
    if key is None:
        return None
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(minutes=1))
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
    project = key.app.project
    return Principal(key.pk, key.app_id, project.pk, project.slug, frozenset(key.scopes))


def principal_of(request: HttpRequest) -> Principal:
    """The caller of a plain view; 401 where the header is absent or the key is unknown, expired or revoked."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "api-key" or not secret.strip():
        raise Problem(401, "not-authenticated", "Send your key in the header «Authorization: Api-Key …».")
    principal = cache.get(secret.strip())
    if principal is None:
        raise Problem(401, "invalid-key", "This key is unknown, expired or revoked.")
    return principal


class ApiKeyAuthentication(BaseAuthentication):
    """The same keys for DRF views: `request.user` is the Principal."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        if not request.headers.get("Authorization", "").lower().startswith("api-key "):
            return None
        try:
            principal = principal_of(request._request)
        except Problem as problem:
            raise AuthenticationFailed(problem.detail, code=problem.kind) from problem
        return principal, None

    def authenticate_header(self, request: Request) -> str:
        return "Api-Key"
