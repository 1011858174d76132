"""Rows of several tables in one statement: one round trip, one transaction, and each table planned once per connection.

A row is a dict of columns; those that it leaves out get the model's default. Each table is a part of the statement, in
the words of the app that owns it: where its rows come from is always the same (one JSON parameter per table), what a part
adds is when they are written and what they return. The statement depends on the tables and columns alone, so that it is
built, parsed and planned once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import msgspec
import psycopg
from django.conf import settings
from django.db.models import NOT_PROVIDED, BinaryField, Model

Row = dict[str, Any]
Rows = dict[str, list[Row]]  # by the name of a part


@dataclass(frozen=True)
class Part:
    """One table of a statement. `name` is its CTE, by which later parts may ask for what it returned.

    `where` is a condition on a given row `r`, `then` what follows the SELECT (ON CONFLICT …, RETURNING …).
    """

    name: str
    model: type[Model]
    where: str = ""
    then: str = ""


@dataclass(frozen=True)
class Derived:
    """A CTE that takes no rows of its own: `sql` works on what earlier parts returned."""

    name: str
    sql: str


def row(model: type[Model], **columns: Any) -> Row:
    """A row with the model's defaults for what is left out. A column without any default must be given."""
    made = {name: default() for name, default in _defaults(model)}
    made.update(columns)
    return made


@cache
def _defaults(model: type[Model]) -> tuple[tuple[str, Callable[[], Any]], ...]:
    """How each column gets its value; columns that only the database fills are left to it."""
    return tuple(
        (str(field.column), field.get_default)
        for field in model._meta.concrete_fields
        if field.db_default is NOT_PROVIDED and not field.get_internal_type().endswith("AutoField")
    )


def run(
    opened: psycopg.Connection[Any], parts: Sequence[Part | Derived], rows: Rows, *, last: str
) -> list[tuple[Any, ...]]:
    """Write `rows` and give what the query `last` yields over the parts. Parts without rows are left out.

    One statement: all of it or nothing. Raises psycopg's errors; ValueError for a column that a table does not have.
    """
    present = tuple(p for p in parts if isinstance(p, Derived) or rows.get(p.name))
    shapes = tuple(tuple(rows[p.name][0]) if isinstance(p, Part) else () for p in present)
    given = [
        _encoded(rows[p.name], _binary(p.model, shape))
        for p, shape in zip(present, shapes, strict=True)
        if isinstance(p, Part)
    ]
    before, opened.prepare_threshold = opened.prepare_threshold, 0
    try:
        with psycopg.RawCursor(opened) as cursor:
            cursor.execute(_statement(present, shapes, last), given, prepare=settings.DATABASE_PREPARE)
            return cursor.fetchall()
    finally:
        opened.prepare_threshold = before


@lru_cache(maxsize=256)
def _statement(parts: tuple[Part | Derived, ...], shapes: tuple[tuple[str, ...], ...], last: str) -> bytes:
    number, written = 0, []
    for part, shape in zip(parts, shapes, strict=True):
        if isinstance(part, Derived):
            written.append(f"{part.name} AS ({part.sql})")
            continue
        number += 1
        written.append(f"{part.name} AS ({_insert(part, shape, number)})")
    return f"WITH {', '.join(written)} {last}".encode()


def _insert(part: Part, shape: tuple[str, ...], number: int) -> str:
    meta = part.model._meta
    if unknown := set(shape) - {f.column for f in meta.concrete_fields}:
        raise ValueError(f"{meta.db_table} has no column {sorted(unknown)[0]!r}")
    columns = ", ".join(f'"{c}"' for c in shape)
    where = f" WHERE {part.where}" if part.where else ""
    source = f"json_populate_recordset(NULL::{meta.db_table}, ${number}::json) r"
    return f"INSERT INTO {meta.db_table} ({columns}) SELECT {columns} FROM {source}{where} {part.then}"  # noqa: S608 - names


@cache
def _binary(model: type[Model], shape: tuple[str, ...]) -> tuple[str, ...]:
    """Which of these columns hold bytes: JSON has none, so they go as the text that PostgreSQL reads as bytea."""
    return tuple(f.column for f in model._meta.concrete_fields if isinstance(f, BinaryField) and f.column in shape)


def _encoded(rows: list[Row], binary: tuple[str, ...]) -> str:
    """Rows as a JSON array. Only rows that hold bytes are copied, and of their values only the bytes are looked at."""
    if binary:
        rows = [{**row, **{name: _as_text(row[name]) for name in binary}} for row in rows]
    return msgspec.json.encode(rows).decode()


def _as_text(value: bytes | None) -> str | None:
    return None if value is None else "\\x" + value.hex()
