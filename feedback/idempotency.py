"""One key, one write: the answer is kept in the transaction of the write, per (project, principal, route, key).

The same key and body gets the stored answer, another body 409, and a twin that is still in flight 409 with
Retry-After. The twin is told apart by a transaction-level advisory lock, so nothing has to be cleaned up after a kill.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from django.db import connection

from feedback.models import IdempotencyRecord
from feedback.problems import Problem

MAX_KEY = 200


@dataclass(frozen=True)
class Replay:
    """An answer that was already given."""

    status: int
    body: bytes


@dataclass(frozen=True)
class Key:
    """A client's idempotency key with the request that it stands for."""

    project_id: int
    principal: str
    route: str
    key: str
    request_sha: bytes

    def find(self) -> Replay | None:
        """The stored answer; 409 when the key stands for another body."""
        known = IdempotencyRecord.objects.filter(
            project_id=self.project_id, principal=self.principal, route=self.route, key=self.key
        ).first()
        if known is None:
            return None
        if bytes(known.request_sha) != self.request_sha:
            raise conflict("Idempotency-Key", self.key)
        return Replay(known.status, bytes(known.body))

    def begin(self) -> Replay | None:
        """First thing in the write's transaction: refuse a twin in flight, find what a twin has just finished."""
        lock_or_refuse(f"{self.project_id}\0{self.principal}\0{self.route}\0{self.key}")
        return self.find()

    def keep(self, status: int, body: bytes) -> None:
        """Last thing in the write's transaction."""
        IdempotencyRecord.objects.create(
            project_id=self.project_id, principal=self.principal, route=self.route, key=self.key,
            request_sha=self.request_sha, status=status, body=body,
        )  # fmt: skip


def conflict(field: str, value: str) -> Problem:
    return Problem(
        409,
        "idempotency-conflict",
        f"{field} {value!r} was used with another body. Send a new one for a new request.",
        field=field,
    )


def lock_or_refuse(name: str) -> None:
    """Hold `name` until the transaction ends; 409 with Retry-After while another transaction holds it."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        row = cursor.fetchone()
    if not (row and row[0]):
        raise Problem(
            409, "in-flight", "The same request is still being worked on. Ask again in a second.", retry_after=1
        )


def key_from_header(given: str | None, *, project_id: int, principal: str, route: str, body: bytes) -> Key | None:
    if given is None:
        return None
    if not 0 < len(given) <= MAX_KEY or not given.isprintable():
        raise Problem(
            422, "invalid-field", f"Idempotency-Key must be 1–{MAX_KEY} printable characters.", field="Idempotency-Key"
        )
    return Key(project_id, principal, route, given, hashlib.sha256(body).digest())
