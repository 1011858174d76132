"""Statements that run with every item that is labeled, prepared once per connection: planning costs more than running."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from django.conf import settings
from django.db import connection


def rows(statement: LiteralString, given: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Run a prepared statement in the current transaction; its rows, none for a statement that returns none."""
    connection.ensure_connection()
    with connection.wrap_database_errors, _preparing(connection.connection), psycopg.Cursor(connection.connection) as c:
        c.execute(statement, given, prepare=settings.DATABASE_PREPARE)
        return c.fetchall() if c.description else []


@contextmanager
def _preparing(opened: psycopg.Connection[Any]) -> Iterator[None]:
    """Django opens connections on which nothing is prepared, whatever a statement asks for."""
    before, opened.prepare_threshold = opened.prepare_threshold, 0
    try:
        yield
    finally:
        opened.prepare_threshold = before


def row(statement: LiteralString, given: dict[str, Any]) -> tuple[Any, ...] | None:
    """The first row, or None."""
    found = rows(statement, given)
    return found[0] if found else None
