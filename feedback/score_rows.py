"""The rows behind the scores: reading evidence, writing scores and the sums over them.

Whoever writes holds a lock on the inquiry (`lock_places`), taken in the order of ids, so that writers of the same inquiry
line up and never lock one another out. The evidence is read after the lock, in a statement of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, NamedTuple

import msgspec
import psycopg
from django.db import connection, transaction

from feedback.scores import Evidence, ExplicitWeights, ImplicitWeights, Said, Scores, Signal, evidence_of, scores_of
from feedback.totals import Totals, totals_of

Cursor = psycopg.Cursor[tuple[Any, ...]]
Weights = tuple[ImplicitWeights, ExplicitWeights]


class Place(NamedTuple):
    """An inquiry and the groups in which its scores are counted."""

    inquiry: uuid.UUID
    project: int
    external_id: str | None
    day: date
    category: int | None
    reply: int | None
    model: str


class Cell(NamedTuple):
    """Key of one group."""

    project: int
    day: date
    category: int | None
    reply: int | None
    model: str


class Change(NamedTuple):
    """New evidence of an inquiry beside what was known: None where nothing was."""

    place: Place
    before: tuple[Evidence, Scores] | None
    after: Evidence


class _Row(msgspec.Struct):
    """A row of feedback_inquiryscore, as JSON for PostgreSQL."""

    inquiry_id: uuid.UUID
    implicit: float | None
    explicit: float | None
    thumbs: int | None
    thumbs_at: datetime | None
    events: int
    actions: int
    impressions: int
    click: float
    dwell_us: int
    scroll: float
    rating: float | None
    rating_at: datetime | None
    nps: float | None
    nps_at: datetime | None
    sentiment: float | None
    sentiment_at: datetime | None


_ROW = _Row.__struct_fields__
_CELL = ("project_id", "day", "category_id", "reply_id", "model", *Totals._fields)
_TYPES = {
    "inquiry_id": "uuid", "implicit": "float8", "explicit": "float8", "rating": "float8", "nps": "float8", "sentiment": "float8",
    "scroll": "float8", "click": "float8", "thumbs": "int2", "events": "int4", "actions": "int4", "impressions": "int4",
    "model": "text", "day": "date",
}  # fmt: skip


def _typed(names: Sequence[str]) -> str:
    return ", ".join(f"{n} {_TYPES.get(n) or ('timestamptz' if n.endswith('_at') else 'int8')}" for n in names)


_PLACE = (
    "i.id, i.project_id, i.external_id, (i.received_at AT TIME ZONE 'UTC')::date, i.category_id, i.reply_id, i.model"
)
_LOCK = f"SELECT {_PLACE} FROM feedback_inquiry i WHERE i.id = ANY(%s) ORDER BY i.id FOR NO KEY UPDATE"
_READ = f"SELECT {', '.join(_ROW)} FROM feedback_inquiryscore WHERE inquiry_id = ANY(%s)"
_WRITE = f"""
    INSERT INTO feedback_inquiryscore ({", ".join(_ROW)}, updated_at)
    SELECT {", ".join(_ROW)}, now() FROM json_to_recordset(%s::json) AS t({_typed(_ROW)})
    ON CONFLICT (inquiry_id) DO UPDATE SET
    {", ".join(f"{n} = excluded.{n}" for n in _ROW[1:])}, updated_at = excluded.updated_at"""
_COUNT = f"""
    INSERT INTO feedback_scorecell ({", ".join(_CELL)})
    SELECT * FROM json_to_recordset(%s::json) AS t({_typed(_CELL)})"""
_WEIGHTS = """
    SELECT id, click_weight, dwell_weight, scroll_weight, dwell_rate, dwell_curve,
    rating_weight, sentiment_weight, nps_weight, rating_min, rating_max FROM feedback_project WHERE id = ANY(%s)"""
_EVENTS = """
    SELECT inquiry_id, kind, CASE WHEN kind = 'comment' THEN sentiment ELSE value END, occurred_at, weight
    FROM feedback_event WHERE inquiry_id = ANY(%s)"""


@contextmanager
def cursor_in_transaction() -> Iterator[Cursor]:
    """A psycopg cursor with parameters bound by the server, inside Django's transaction; errors leave as Django's."""
    with transaction.atomic(), connection.wrap_database_errors:
        cursor = psycopg.Cursor(connection.connection)
        cursor.format = psycopg.pq.Format.BINARY
        yield cursor


def lock_places(cursor: Cursor, inquiries: Iterable[uuid.UUID]) -> list[Place]:
    """Lock inquiries in the order of their ids; those that do not exist are left out."""
    cursor.execute(_LOCK, [sorted(set(inquiries))])
    return [Place(*row) for row in cursor]


def read(cursor: Cursor, inquiries: Sequence[uuid.UUID]) -> dict[uuid.UUID, tuple[Evidence, Scores]]:
    """Evidence and scores of those inquiries that have any."""
    cursor.execute(_READ, [list(inquiries)])
    return {row.inquiry_id: _known(row) for row in (_Row(*values) for values in cursor)}


def _known(row: _Row) -> tuple[Evidence, Scores]:
    evidence = Evidence(
        row.events, row.actions, row.impressions, row.click, row.dwell_us, row.scroll,
        _said(row.rating_at, row.rating), _said(row.nps_at, row.nps), _said(row.sentiment_at, row.sentiment),
        _said(row.thumbs_at, row.thumbs),
    )  # fmt: skip
    return evidence, Scores(row.implicit, row.explicit, row.thumbs)


def _said(at: datetime | None, value: float | None) -> Said | None:
    return None if at is None or value is None else Said(at, value)


def weights_by_project(cursor: Cursor, projects: Iterable[int]) -> dict[int, Weights]:
    cursor.execute(_WEIGHTS, [list(projects)])
    return {row[0]: (ImplicitWeights(*row[1:6]), ExplicitWeights(*row[6:])) for row in cursor}


def write(cursor: Cursor, changes: Sequence[Change], weights: dict[int, Weights]) -> None:
    """Store evidence and scores, and count the difference in the groups."""
    rows: list[_Row] = []
    cells: dict[Cell, Totals] = {}
    for place, before, after in changes:
        scores = scores_of(after, *weights[place.project])
        rows.append(_row(place.inquiry, after, scores))
        difference = totals_of(after, scores)
        if before is not None:
            difference = difference.minus(totals_of(*before))
        _add(cells, place, difference)
    if rows:
        cursor.execute(_WRITE, [msgspec.json.encode(rows).decode()])
    count(cursor, cells)


def _add(cells: dict[Cell, Totals], place: Place, difference: Totals) -> None:
    cell = Cell(place.project, place.day, place.category, place.reply, place.model)
    cells[cell] = cells[cell].plus(difference) if cell in cells else difference


def count(cursor: Cursor, cells: dict[Cell, Totals]) -> None:
    """Add differences to groups."""
    changed = [dict(zip(_CELL, (*cell, *totals), strict=True)) for cell, totals in cells.items() if any(totals)]
    if changed:
        cursor.execute(_COUNT, [msgspec.json.encode(changed).decode()])


def _row(inquiry: uuid.UUID, e: Evidence, scores: Scores) -> _Row:
    r, n, s, t = e.rating, e.nps, e.sentiment, e.thumbs
    return _Row(
        inquiry, scores.implicit, scores.explicit, scores.thumbs, t and t.at, e.events, e.actions, e.impressions, e.click,
        e.dwell_us, e.scroll, r and r.value, r and r.at, n and n.value, n and n.at, s and s.value, s and s.at,
    )  # fmt: skip


def recompute(cursor: Cursor, inquiries: Iterable[uuid.UUID]) -> int:
    """Scores of inquiries from all their events, whatever was stored before; returns how many inquiries there are."""
    places = lock_places(cursor, inquiries)
    ids = [p.inquiry for p in places]
    before = read(cursor, ids)
    weights = weights_by_project(cursor, {p.project for p in places})
    cursor.execute(_EVENTS, [ids])
    signals: dict[uuid.UUID, list[Signal]] = {}
    for inquiry, *signal in cursor:
        signals.setdefault(inquiry, []).append(Signal(*signal))
    changes = [Change(p, before.get(p.inquiry), evidence_of(signals.get(p.inquiry, ()))) for p in places]
    write(cursor, [c for c in changes if c.before or c.after.events], weights)
    return len(places)


def move(cursor: Cursor, place: Place, *, category: int | None) -> None:
    """Count a locked inquiry under another category from now on."""
    if place.category == category or not (known := read(cursor, [place.inquiry])):
        return
    totals = totals_of(*known[place.inquiry])
    cells: dict[Cell, Totals] = {}
    _add(cells, place, Totals().minus(totals))
    _add(cells, place._replace(category=category), totals)
    count(cursor, cells)
