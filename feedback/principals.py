"""Who may call: an app behind a secret key or a trusted token, a web page behind a public key."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from django.db.models import Q
from django.utils import timezone

from feedback.models import Project
from feedback.problems import Problem

# A revoked key or issuer stops working within this many seconds in every process.
CACHE_SECONDS = 10.0
CACHE_SIZE = 10_000
# `last_used_at` is written at most this often: it says whether a key is still in use, not when exactly.
USE_EVERY = timedelta(minutes=1)
T = TypeVar("T")


@dataclass(frozen=True)
class Allowance:
    """What a caller may spend (feedback/limits.py): `rate` units per second, None without a limit; `burst` units saved up."""

    name: str
    rate: float | None
    burst: float


@dataclass(frozen=True)
class Principal:
    """Who is calling: a client app, through one of its keys or a token of an issuer that it trusts."""

    key_id: int | None
    app_id: int
    project_id: int
    project_slug: str
    scopes: frozenset[str]
    allowance: Allowance
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


@dataclass(frozen=True)
class PublicPrincipal:
    """A web page: it may write feedback for its app, from one of `origins`, and nothing else."""

    key_id: int
    app_id: int
    project_id: int
    origins: frozenset[str]
    allowance: Allowance
    page_rate: float  # requests per second of one client address


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class Cache(Generic[T]):
    """digest → (what it stands for or None, when it must be looked up again); bounded."""

    def __init__(self, look_up: Callable[[str], T | None]) -> None:
        self._look_up = look_up
        self._known: dict[str, tuple[T | None, float]] = {}
        self._lock = threading.Lock()

    def get(self, secret: str) -> T | None:
        key = digest(secret)
        found = self._known.get(key)
        if found is not None and found[1] > time.monotonic():
            return found[0]
        principal = self._look_up(key)
        with self._lock:
            if len(self._known) >= CACHE_SIZE:  # a flood of wrong keys must not grow the process
                self._known.clear()
            self._known[key] = (principal, time.monotonic() + CACHE_SECONDS)
        return principal

    def clear(self) -> None:
        with self._lock:
            self._known.clear()


def allowance_of(name: str, project: Project) -> Allowance:
    per_minute = project.limit_per_minute
    return Allowance(name, None if per_minute is None else per_minute / 60, float(project.limit_burst))


def note_use(rows: Any, last_used_at: datetime | None) -> None:
    """Write `last_used_at` of a key or issuer, if it is not fresh; callers come here once per CACHE_SECONDS."""
    now = timezone.now()
    if last_used_at is None or last_used_at < now - USE_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_EVERY)
        rows.filter(stale).update(last_used_at=now)
