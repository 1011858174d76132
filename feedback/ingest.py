"""Storing feedback events: one transaction for a batch, or for the single events of a group.

The order inside it never changes, so that two transactions cannot wait for each other: inquiries are locked in the order
of their ids, then events are inserted in the order of their event_ids, then scores are written for the locked inquiries.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
from django.db import InterfaceError, OperationalError, connection
from psycopg.errors import DeadlockDetected
from psycopg_pool import PoolTimeout

from feedback import outbox, privacy, rules, score_rows
from feedback.group_commit import Busy, GroupCommit
from feedback.ids import uuid7
from feedback.masking import mask
from feedback.models import Original
from feedback.problems import Problem
from feedback.score_rows import Change, Cursor, Place
from feedback.scores import Evidence, Signal, evidence_of

# A clock that runs ahead by more than this is wrong: the event is then dated by its arrival.
MAX_SKEW = timedelta(minutes=5)
# From here on COPY into a temporary table costs less than one JSON parameter.
COPY_FROM = 50
LARGEST_GROUP = 256
MAX_WAITING = 1_000
PATIENCE_SECONDS = 15.0
MAX_DEADLOCKS = 3


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A feedback event as an app posted it, checked. `weight` below 1: an anonymous page."""

    inquiry_ref: str
    kind: str
    value: float | None
    text: str
    request_sha: bytes
    event_id: str | None
    customer: str
    occurred_at: datetime | None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one event: stored, duplicate (same id, same body) or conflict (same id, another body)."""

    id: uuid.UUID | None
    result: str


class Row(msgspec.Struct):
    """A row of feedback_event on its way in; `line` says which of two with the same event_id came first."""

    line: int
    id: uuid.UUID
    project_id: int
    app_id: int | None
    event_id: str | None
    request_sha: bytes
    inquiry_ref: str
    inquiry_id: uuid.UUID | None
    kind: str
    value: float | None
    text: str
    customer: str
    weight: float
    occurred_at: datetime
    received_at: datetime


_TYPES = (
    "int4", "uuid", "int8", "int8", "text", "bytea", "text", "uuid", "text", "float8", "text", "text", "float8", "timestamptz", "timestamptz",
)  # fmt: skip
_NAMES = Row.__struct_fields__
_COLUMNS = ", ".join(_NAMES[1:])
_TARGET = f"INSERT INTO feedback_event ({_COLUMNS})"
_END = "ORDER BY project_id, event_id, line ON CONFLICT DO NOTHING RETURNING id"
_AS_JSON = ", ".join(f"{n} {'text' if t == 'bytea' else t}" for n, t in zip(_NAMES, _TYPES, strict=True))
_INSERT_JSON = f"""
    {_TARGET} SELECT {_COLUMNS.replace("request_sha", "decode(request_sha, 'base64')")}
    FROM json_to_recordset(%s::json) AS t({_AS_JSON}) {_END}"""
_INCOMING = f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS incoming_event ({", ".join(f"{n} {t}" for n, t in zip(_NAMES, _TYPES, strict=True))})
    ON COMMIT DELETE ROWS"""
_COPY = f"COPY incoming_event ({', '.join(_NAMES)}) FROM STDIN (FORMAT BINARY)"
_INSERT_COPIED = f"{_TARGET} SELECT {_COLUMNS} FROM incoming_event {_END}"
_FIND = """
    SELECT i.id, i.project_id, i.external_id, (i.received_at AT TIME ZONE 'UTC')::date, i.category_id, i.reply_id, i.model
    FROM feedback_inquiry i WHERE i.id IN (
        SELECT j.id FROM unnest(%s::int8[], %s::text[]) AS r(project_id, reference)
        JOIN feedback_inquiry j ON j.project_id = r.project_id AND j.external_id = r.reference
        UNION ALL
        SELECT j.id FROM unnest(%s::int8[], %s::uuid[]) AS r(project_id, id)
        JOIN feedback_inquiry j ON j.id = r.id AND j.project_id = r.project_id
    ) ORDER BY i.id FOR NO KEY UPDATE"""
_KNOWN = """
    SELECT project_id, event_id, id, request_sha FROM feedback_event
    WHERE (project_id, event_id) IN (SELECT * FROM unnest(%s::int8[], %s::text[]))"""


class Incoming(NamedTuple):
    """A row with the sealed personal data that was taken out of its text."""

    row: Row
    original: Original | None = None


def incoming(project_id: int, app_id: int | None, events: Sequence[NewEvent]) -> list[Incoming]:
    """Events with their ids and times, masked, not yet joined to inquiries."""
    now = datetime.now(UTC)
    latest = now + MAX_SKEW
    found = []
    for line, e in enumerate(events):
        row = Row(
            line, uuid7(), project_id, app_id, e.event_id, e.request_sha, e.inquiry_ref, None, e.kind, e.value, "", e.customer,
            e.weight, e.occurred_at if e.occurred_at and e.occurred_at <= latest else now, now,
        )  # fmt: skip
        found.append(_masked(row, e.text) if e.text else Incoming(row))
    return found


def _masked(row: Row, text: str) -> Incoming:
    """The one place that a comment's text passes on its way in: from here on only the vault knows the originals."""
    masked = mask(text, rules.cache.get(row.project_id).order_templates)
    row.text = masked.text
    return Incoming(row, privacy.sealed_row(project_id=row.project_id, found=masked, event_id=row.id))


def record(events: Sequence[Incoming]) -> list[Receipt]:
    """Store events; a single one shares the transaction of those that arrive with it. 503 where that takes too long.

    Whoever holds a transaction already gets the events stored in that one.
    """
    if len(events) != 1 or connection.in_atomic_block:
        return _patiently(events)
    try:
        return [_singles.submit(events[0])]
    except Busy as error:
        raise Problem(
            503, "busy", f"Events arrive faster than they can be stored ({error}): send this again.", retry_after=1
        ) from error


def _patiently(events: Sequence[Incoming]) -> list[Receipt]:
    """Writers of other tables may lock the same inquiries in another order: the one that loses tries again."""
    for _ in range(MAX_DEADLOCKS):
        try:
            return store(events)
        except OperationalError as error:
            if connection.in_atomic_block or not isinstance(error.__cause__, DeadlockDetected):
                raise
    return store(events)


def store(events: Sequence[Incoming]) -> list[Receipt]:
    """Store events with the scores that follow from them; durable when this returns, unless the caller holds a transaction."""
    if not events:
        return []
    rows = [e.row for e in events]
    for line, row in enumerate(rows):
        row.line = line
    with score_rows.cursor_in_transaction() as cursor:
        places = _join(cursor, rows)
        stored = _insert(cursor, rows)
        known = _known_bodies(cursor, [r for r in rows if r.id not in stored])
        fresh = [e for e in events if e.row.id in stored]
        _score(cursor, [e.row for e in fresh], places)
        _follow_up([e for e in fresh if e.row.kind == "comment"])
    return [_receipt(row, stored, known) for row in rows]


def _join(cursor: Cursor, rows: Sequence[Row]) -> dict[uuid.UUID, Place]:
    """Lock the inquiries that the rows name, by id or by the app's external_id, and point the rows at them."""
    wanted = {(r.project_id, r.inquiry_ref) for r in rows}
    ids = [(project, found) for project, ref in wanted if (found := _as_uuid(ref))]
    cursor.execute(
        _FIND, [[p for p, _ in wanted], [r for _, r in wanted], [p for p, _ in ids], [i for _, i in ids]], prepare=True
    )
    places = [Place(*row) for row in cursor]
    names = {(p.project, str(p.inquiry)): p.inquiry for p in places}
    names |= {(p.project, p.external_id): p.inquiry for p in places if p.external_id is not None}
    for row in rows:
        row.inquiry_id = names.get((row.project_id, row.inquiry_ref))
        if row.inquiry_id is None and len(row.inquiry_ref) == 36:
            row.inquiry_id = names.get((row.project_id, row.inquiry_ref.lower()))
    return {p.inquiry: p for p in places}


def _as_uuid(text: str) -> uuid.UUID | None:
    if len(text) != 36:
        return None
    try:
        found = uuid.UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None


def _insert(cursor: Cursor, rows: Sequence[Row]) -> set[uuid.UUID]:
    """The ids of the rows that were new."""
    if len(rows) < COPY_FROM:
        cursor.execute(_INSERT_JSON, [msgspec.json.encode(rows).decode()], prepare=True)
    else:
        cursor.execute(_INCOMING)
        with cursor.copy(_COPY) as copy:
            copy.set_types(_TYPES)
            for row in rows:
                copy.write_row(msgspec.structs.astuple(row))
        cursor.execute(_INSERT_COPIED)
    return {r[0] for r in cursor}


def _known_bodies(cursor: Cursor, rows: Sequence[Row]) -> dict[tuple[int, str | None], tuple[uuid.UUID, bytes]]:
    if not rows:
        return {}
    cursor.execute(_KNOWN, [[r.project_id for r in rows], [r.event_id for r in rows]])
    known = {(project, event_id): (pk, sha) for project, event_id, pk, sha in cursor}
    if any((r.project_id, r.event_id) not in known for r in rows):
        raise OperationalError("an event was erased while its duplicate arrived")
    return known


def _receipt(row: Row, stored: set[uuid.UUID], known: dict[tuple[int, str | None], tuple[uuid.UUID, bytes]]) -> Receipt:
    if row.id in stored:
        return Receipt(row.id, "stored")
    pk, sha = known[row.project_id, row.event_id]
    return Receipt(pk, "duplicate") if sha == row.request_sha else Receipt(None, "conflict")


def _score(cursor: Cursor, rows: Sequence[Row], places: dict[uuid.UUID, Place]) -> None:
    """Add what new rows say to what was known of their inquiries. A comment says nothing until its sentiment is known."""
    signals: dict[uuid.UUID, list[Signal]] = {}
    for row in rows:
        if row.inquiry_id is not None:
            signal = Signal(row.kind, row.value, row.occurred_at, row.weight)
            signals.setdefault(row.inquiry_id, []).append(signal)
    if not signals:
        return
    before = score_rows.read(cursor, list(signals))
    weights = score_rows.weights_by_project(cursor, {places[i].project for i in signals})
    changes = [
        Change(places[i], known := before.get(i), evidence_of(new) + (known[0] if known else Evidence()))
        for i, new in signals.items()
    ]
    score_rows.write(cursor, changes, weights)


def _follow_up(comments: Sequence[Incoming]) -> None:
    """Keep what was masked, and have the sentiment computed."""
    if originals := [e.original for e in comments if e.original is not None]:
        Original.objects.bulk_create(originals)
    if comments:
        payloads = [(e.row.project_id, {"event": str(e.row.id)}) for e in comments]
        outbox.publish_many(kind="comment.received", payloads=payloads)


def join_held(*, project_id: int, inquiry_id: uuid.UUID, references: Sequence[str]) -> None:
    """Give an inquiry the events that came before it. The caller holds the transaction that stores the inquiry."""
    with score_rows.cursor_in_transaction() as cursor:
        cursor.execute(
            "UPDATE feedback_event SET inquiry_id = %s WHERE project_id = %s AND inquiry_id IS NULL AND inquiry_ref = ANY(%s)",
            [inquiry_id, project_id, list(references)],
        )
        if cursor.rowcount:
            score_rows.recompute(cursor, [inquiry_id])


def join_missed(*, since: timedelta = timedelta(hours=1)) -> int:
    """Join events whose inquiry was being stored in the same moment, when neither side could see the other yet."""
    with score_rows.cursor_in_transaction() as cursor:
        cursor.execute(
            """UPDATE feedback_event e SET inquiry_id = i.id FROM feedback_inquiry i
            WHERE e.inquiry_id IS NULL AND e.received_at > now() - %s AND i.project_id = e.project_id
            AND i.external_id = e.inquiry_ref RETURNING i.id""",
            [since],
        )
        joined = [row[0] for row in cursor]
        score_rows.recompute(cursor, joined)
    return len(joined)


_singles: GroupCommit[Incoming, Receipt] = GroupCommit(
    _patiently, largest=LARGEST_GROUP, waiting=MAX_WAITING, patience=PATIENCE_SECONDS,
    shared=(OperationalError, InterfaceError, PoolTimeout),
)  # fmt: skip
