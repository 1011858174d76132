"""Folding what events say into scores and the sums over them.

Storing events queues their ids (feedback_unscored); a fold takes what is queued, adds what those events say to the evidence
of their inquiries and counts the difference in the groups. A project's folds run one after the other, each a
transaction, so that nothing is counted twice or not at all, whoever is killed; and because evidence merges exactly
(feedback/scores.py), the numbers are the same in any order of arrival and however the folds were cut.

Readers fold first: what was stored before they asked is in what they see. A worker folds in the background meanwhile.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import msgspec
import psycopg
from django.db import connection, transaction

from feedback.models import InquiryScore
from feedback.scores import Evidence, ExplicitWeights, ImplicitWeights, Said, Scores, Signal, evidence_of, scores_of
from feedback.totals import Totals, totals_of

Cursor = psycopg.Cursor[tuple[Any, ...]]
Weights = tuple[ImplicitWeights, ExplicitWeights]
Known = tuple[Evidence, Scores]
# Queued rows of one fold: each holds the events of one transaction.
ROWS = 500
_ALL = 2**31 - 1
# How many inquiries one queued row asks to make anew.
ANEW = 1_000
_LOCK_CLASS = 0x5C0E


class Cell(NamedTuple):
    """Key of one group."""

    project_id: int
    day: date
    category_id: int | None
    reply_id: int | None
    model: str


class Standing(NamedTuple):
    """An inquiry with what is known of it: where it counts from now on, where it counted, and its evidence."""

    inquiry: uuid.UUID
    cell: Cell
    counted: Cell | None
    known: Known | None


class _Row(msgspec.Struct):
    """A row of feedback_inquiryscore, as JSON for PostgreSQL."""

    inquiry_id: uuid.UUID
    category_id: int | None
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


_TYPES = {
    "inquiry_id": "uuid", "category_id": "int8", "implicit": "float8", "explicit": "float8", "thumbs": "int2", "events": "int4",
    "actions": "int4", "impressions": "int4", "click": "float8", "scroll": "float8", "rating": "float8", "nps": "float8",
    "sentiment": "float8", "model": "text", "day": "date",
}  # fmt: skip


def _typed(names: Sequence[str]) -> str:
    return ", ".join(f"{n} {_TYPES.get(n) or ('timestamptz' if n.endswith('_at') else 'int8')}" for n in names)


_ROW = _Row.__struct_fields__
_CELL = (*Cell._fields, *Totals._fields)
# One snapshot: an event is either among those taken, or it was stored later and is queued still.
_TAKE = """
    WITH chosen AS MATERIALIZED (
        SELECT id FROM feedback_unscored WHERE project_id = %(project)s ORDER BY id LIMIT %(most)s
    ), taken AS (
        DELETE FROM feedback_unscored u USING chosen c WHERE u.id = c.id RETURNING u.events, u.anew
    ), anew AS MATERIALIZED (SELECT DISTINCT unnest(anew) AS inquiry_id FROM taken),
    put_back AS (
        INSERT INTO feedback_unscored (project_id, events, anew)
        SELECT %(project)s, '{}', array_agg(inquiry_id) FROM anew WHERE NOT %(honour)s HAVING count(*) > 0
    ), due AS MATERIALIZED (SELECT inquiry_id FROM anew WHERE %(honour)s)
    SELECT inquiry_id, true, NULL, NULL, NULL, NULL FROM due
    UNION ALL SELECT e.inquiry_id, true, e.kind, CASE e.kind WHEN 'comment' THEN e.sentiment ELSE e.value END,
        e.occurred_at, e.weight
    FROM due JOIN feedback_event e ON e.inquiry_id = due.inquiry_id
    UNION ALL SELECT e.inquiry_id, false, e.kind, CASE e.kind WHEN 'comment' THEN e.sentiment ELSE e.value END,
        e.occurred_at, e.weight
    FROM (SELECT unnest(events) AS id FROM taken) t JOIN feedback_event e ON e.id = t.id
    WHERE e.inquiry_id NOT IN (SELECT inquiry_id FROM due)"""
_STANDING = f"""
    SELECT i.id, (i.received_at AT TIME ZONE 'UTC')::date, i.category_id, i.reply_id, i.model, {", ".join("s." + n for n in _ROW)}
    FROM feedback_inquiry i LEFT JOIN feedback_inquiryscore s ON s.inquiry_id = i.id
    WHERE i.project_id = %s AND i.id = ANY(%s)"""
_WRITE = f"""
    INSERT INTO feedback_inquiryscore ({", ".join(_ROW)}, updated_at)
    SELECT {", ".join(_ROW)}, now() FROM json_to_recordset(%s::json) AS t({_typed(_ROW)})
    ON CONFLICT (inquiry_id) DO UPDATE SET
    {", ".join(f"{n} = excluded.{n}" for n in _ROW[1:])}, updated_at = excluded.updated_at"""
_COUNT = f"""
    INSERT INTO feedback_scorecell AS c ({", ".join(_CELL)})
    SELECT * FROM json_to_recordset(%s::json) AS t({_typed(_CELL)})
    ON CONFLICT (project_id, day, category_id, reply_id, model) DO UPDATE SET
    {", ".join(f"{n} = c.{n} + excluded.{n}" for n in Totals._fields)}"""
_WEIGHTS = """
    SELECT click_weight, dwell_weight, scroll_weight, dwell_rate, dwell_curve,
    rating_weight, sentiment_weight, nps_weight, rating_min, rating_max FROM feedback_project WHERE id = %s"""


def fold_project(project_id: int, *, rows: int = ROWS) -> int:
    """Fold up to `rows` queued rows of a project; returns how many rows it took (0: nothing is queued).

    Scores are made anew only when all that is queued is taken at once: what is queued still would be counted twice.
    """
    with transaction.atomic(), connection.wrap_database_errors:
        cursor = psycopg.Cursor(connection.connection)
        cursor.format = psycopg.pq.Format.BINARY
        take_turn(project_id)
        waiting = _waiting(cursor, project_id)
        honour = waiting <= rows
        # Only folds delete, and they take turns: rows that come in between are taken as well, or left to the next fold.
        most = _ALL if honour else rows
        fresh, anew = _take(cursor, project_id, most, honour)
        if fresh:
            cursor.execute(_WEIGHTS, [project_id])
            for weights in cursor.fetchall():  # none: the project is gone
                _fold(cursor, project_id, fresh, anew, (ImplicitWeights(*weights[:5]), ExplicitWeights(*weights[5:])))
    return min(waiting, most)


def take_turn(project_id: int) -> None:
    """Wait until no fold of the project runs, and let none begin before the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s::int4, %s::int4)", [_LOCK_CLASS, project_id])


def _waiting(cursor: Cursor, project_id: int) -> int:
    cursor.execute("SELECT count(*) FROM feedback_unscored WHERE project_id = %s", [project_id])
    return int(cursor.fetchall()[0][0])


def _take(
    cursor: Cursor, project_id: int, most: int, honour: bool
) -> tuple[dict[uuid.UUID, list[Signal]], set[uuid.UUID]]:
    """What the queued events say, by inquiry, and the inquiries whose scores are made anew from all their events."""
    cursor.execute(_TAKE, {"project": project_id, "most": most, "honour": honour})
    fresh: dict[uuid.UUID, list[Signal]] = {}
    anew: set[uuid.UUID] = set()
    for inquiry, is_anew, kind, value, at, weight in cursor:
        signals = fresh.setdefault(inquiry, [])
        if is_anew:
            anew.add(inquiry)
        if kind is not None:
            signals.append(Signal(kind, value, at, weight))
    return fresh, anew


def _fold(
    cursor: Cursor, project_id: int, fresh: dict[uuid.UUID, list[Signal]], anew: set[uuid.UUID], weights: Weights
) -> None:
    cursor.execute(_STANDING, [project_id, list(fresh)])
    standings = [_standing(project_id, row) for row in cursor]
    rows: list[_Row] = []
    cells: dict[Cell, Totals] = {}
    for inquiry, cell, counted, known in standings:
        evidence = evidence_of(fresh[inquiry])
        if known is not None and inquiry not in anew:
            evidence += known[0]
        scores = scores_of(evidence, *weights)
        rows.append(_row(inquiry, cell.category_id, evidence, scores))
        cells[cell] = cells.get(cell, Totals()).plus(totals_of(evidence, scores))
        if counted is not None and known is not None:
            cells[counted] = cells.get(counted, Totals()).minus(totals_of(*known))
    _write(cursor, rows, cells)


def _write(cursor: Cursor, rows: Sequence[_Row], cells: dict[Cell, Totals]) -> None:
    if rows:
        cursor.execute(_WRITE, [msgspec.json.encode(rows).decode()])
    changed = [dict(zip(_CELL, (*cell, *totals), strict=True)) for cell, totals in cells.items() if any(totals)]
    if changed:
        cursor.execute(_COUNT, [msgspec.json.encode(changed).decode()])


def _standing(project_id: int, row: tuple[Any, ...]) -> Standing:
    inquiry, day, category, reply, model, *stored = row
    cell = Cell(project_id, day, category, reply, model)
    if stored[0] is None:
        return Standing(inquiry, cell, None, None)
    s = _Row(*stored)
    known = (evidence_in(s), Scores(s.implicit, s.explicit, s.thumbs))
    return Standing(inquiry, cell, cell._replace(category_id=s.category_id), known)


def evidence_in(s: _Row | InquiryScore) -> Evidence:
    """The evidence that a row keeps."""
    return Evidence(
        s.events, s.actions, s.impressions, s.click, s.dwell_us, s.scroll, _said(s.rating_at, s.rating), _said(s.nps_at, s.nps),
        _said(s.sentiment_at, s.sentiment), _said(s.thumbs_at, s.thumbs),
    )  # fmt: skip


def _said(at: datetime | None, value: float | None) -> Said | None:
    return None if at is None or value is None else Said(at, value)


def _row(inquiry: uuid.UUID, category: int | None, e: Evidence, scores: Scores) -> _Row:
    r, n, s, t = e.rating, e.nps, e.sentiment, e.thumbs
    return _Row(
        inquiry, category, scores.implicit, scores.explicit, scores.thumbs, t and t.at, e.events, e.actions, e.impressions,
        e.click, e.dwell_us, e.scroll, r and r.value, r and r.at, n and n.value, n and n.at, s and s.value, s and s.at,
    )  # fmt: skip


def ask_anew(inquiries: Sequence[uuid.UUID]) -> None:
    """Have the scores of inquiries made anew with the next fold, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO feedback_unscored (project_id, events, anew)
            SELECT project_id, '{}', array_agg(id) FROM feedback_inquiry WHERE id = ANY(%s) GROUP BY 1""",
            [list(inquiries)],
        )


def ask_all_anew(project_id: int) -> None:
    """The same for every inquiry of a project that has scores: its weights changed."""
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO feedback_unscored (project_id, events, anew)
            SELECT %s, '{}', array_agg(id) FROM (
                SELECT i.id, row_number() OVER () / %s AS part
                FROM feedback_inquiry i JOIN feedback_inquiryscore s ON s.inquiry_id = i.id WHERE i.project_id = %s
            ) all_of_it GROUP BY part""",
            [project_id, ANEW, project_id],
        )


def projects_waiting() -> list[int]:
    """Projects with something queued."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT project_id FROM feedback_unscored ORDER BY 1")
        return [row[0] for row in cursor.fetchall()]
