"""Statements that run with every item that is labeled, prepared once per connection: planning costs more than running."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from django.db import connection


def rows(statement: LiteralString, given: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Run a prepared statement in the current transaction; its rows, none for a statement that returns none."""
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(statement, given, prepare=True)
        return cursor.fetchall() if cursor.description else []


def row(statement: LiteralString, given: dict[str, Any]) -> tuple[Any, ...] | None:
    """The first row, or None."""
    found = rows(statement, given)
    return found[0] if found else None
