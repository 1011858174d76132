"""Storing feedback events: one statement for a batch, or for the single events of a group.

The statement joins events to inquiries, inserts what is new, queues it for the scores (feedback/score_fold.py), keeps what
was masked and publishes comments: all of it or nothing. Single events go over one connection that this process keeps for
them, in groups (feedback/group_commit.py); batches over another. A batch is first tried without looking at each row
(feedback/batches.py); where an event_id of it is known, it is copied into a temporary table for the statement.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
import psycopg
from django.db import InterfaceError, OperationalError, connection, transaction
from psycopg.errors import DeadlockDetected

from feedback import batches, outbox
from feedback.group_commit import Busy, GroupCommit
from feedback.ids import uuid7s
from feedback.incoming import KEY, MAX_SKEW, NewEvent, Receipt, masked_and_sealed, publish_comments
from feedback.kept_connection import KeptConnection
from feedback.problems import Problem

T = TypeVar("T")
Cursor = psycopg.Cursor[tuple[Any, ...]]
# From here on COPY into a temporary table costs less than one JSON parameter.
COPY_FROM = 50
LARGEST_GROUP = 256
MAX_WAITING = 1_000
PATIENCE_SECONDS = 15.0
MAX_DEADLOCKS = 3


class Row(msgspec.Struct, gc=False):
    """An event on its way in. `line` says which of two with the same event_id came first; `sealed` is what was masked."""

    line: int
    id: uuid.UUID
    project_id: int
    app_id: int | None
    event_id: str | None
    request_sha: bytes
    inquiry_ref: str
    kind: str
    value: float | None
    text: str
    customer: str
    weight: float
    occurred_at: datetime
    received_at: datetime
    sealed: bytes | None


_TYPES = {
    "line": "int4", "id": "uuid", "project_id": "int8", "app_id": "int8", "event_id": "text", "request_sha": "bytea",
    "inquiry_ref": "text", "kind": "text", "value": "float8", "text": "text", "customer": "text", "weight": "float8",
    "occurred_at": "timestamptz", "received_at": "timestamptz", "sealed": "bytea",
}  # fmt: skip
_COLUMNS = [name for name in Row.__struct_fields__ if name not in ("line", "sealed")]
_PLAIN = ", ".join(_TYPES)
_DECODED = ", ".join(f"decode({n}, 'base64') AS {n}" if t == "bytea" else n for n, t in _TYPES.items())
_AS_JSON = ", ".join(f"{n} {'text' if t == 'bytea' else t}" for n, t in _TYPES.items())
_FROM_JSON = f"SELECT {_DECODED} FROM json_to_recordset(%s::json) AS t({_AS_JSON})"
_FROM_COPY = f"SELECT {_PLAIN} FROM incoming_event"
_INCOMING = f"""
    CREATE TEMPORARY TABLE IF NOT EXISTS incoming_event ({", ".join(f"{n} {t}" for n, t in _TYPES.items())})
    ON COMMIT DELETE ROWS"""
_COPY = f"COPY incoming_event ({_PLAIN}) FROM STDIN (FORMAT BINARY)"
_UUID = "'^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'"


def _store_from(given: str) -> str:
    """The statement over rows that the query `given` yields. An external_id goes before an id that looks the same.

    Events are inserted in the order of their event_ids, so that two transactions never wait for each other.
    """
    return f"""
        WITH given AS MATERIALIZED ({given}), fresh AS (
            INSERT INTO feedback_event ({", ".join(_COLUMNS)}, inquiry_id)
            SELECT {", ".join("g." + n for n in _COLUMNS)}, coalesce(
                (SELECT i.id FROM feedback_inquiry i WHERE i.project_id = g.project_id AND i.external_id = g.inquiry_ref),
                (SELECT i.id FROM feedback_inquiry i WHERE i.project_id = g.project_id AND i.id =
                    CASE WHEN length(g.inquiry_ref) = 36 AND g.inquiry_ref ~ {_UUID} THEN g.inquiry_ref::uuid END))
            FROM given g ORDER BY g.project_id, g.event_id COLLATE "C", g.line
            ON CONFLICT DO NOTHING
            RETURNING id, project_id, inquiry_id, kind
        ), queued AS (
            INSERT INTO feedback_unscored (project_id, events, anew)
            SELECT project_id, array_agg(id), '{{}}' FROM fresh WHERE inquiry_id IS NOT NULL GROUP BY project_id
        ), kept AS (
            INSERT INTO feedback_original (project_id, event, sealed)
            SELECT g.project_id, g.id, g.sealed FROM given g JOIN fresh USING (id) WHERE g.sealed IS NOT NULL
        ), published AS (
            {publish_comments("SELECT project_id, id FROM fresh WHERE kind = 'comment'")}
        )
        SELECT g.id FROM given g LEFT JOIN fresh USING (id) WHERE fresh.id IS NULL"""


_STORE_JSON, _STORE_COPIED = _store_from(_FROM_JSON), _store_from(_FROM_COPY)
_KNOWN = f"""
    SELECT project_id, event_id, id, request_sha FROM feedback_event
    WHERE event_id IS NOT NULL AND {KEY.format(project="project_id", event_id="event_id")} = ANY(ARRAY(
        SELECT {KEY.format(project="p", event_id="e")} FROM unnest(%s::int8[], %s::text[]) AS t(p, e)))"""


def rows_of(project_id: int, app_id: int | None, events: Sequence[NewEvent]) -> list[Row]:
    """Rows with their ids and times. An event without a time, or from a clock far ahead, is dated by its arrival."""
    now = datetime.now(UTC)
    latest = now + MAX_SKEW
    rows = [
        Row(
            line, pk, project_id, app_id, e.event_id, e.request_sha, e.inquiry_ref, e.kind, e.value, "", e.customer,
            e.weight, at if (at := e.occurred_at) is not None and at <= latest else now, now, None,
        )
        for line, (pk, e) in enumerate(zip(uuid7s(len(events)), events, strict=True))
    ]  # fmt: skip
    worded = [i for i, e in enumerate(events) if e.text]
    for i, (text, sealed) in zip(worded, masked_and_sealed(project_id, [events[i].text for i in worded]), strict=True):
        rows[i].text, rows[i].sealed = text, sealed
    return rows


def record(*, project_id: int, app_id: int | None, events: Sequence[NewEvent]) -> list[Receipt]:
    """Store events; a single one shares the statement of those that arrive with it. 503 where that takes too long.

    Whoever holds a transaction already gets the events stored in that one.
    """
    if not events:
        return []
    if connection.in_atomic_block:
        return _store_within(rows_of(project_id, app_id, events))
    if len(events) >= COPY_FROM:
        return _store_batch(batches.Batch(project_id, app_id, events))
    rows = rows_of(project_id, app_id, events)
    if len(rows) > 1:
        return _store_many(rows)
    try:
        receipt = _singles.submit(rows[0])
    except Busy as error:
        raise Problem(
            503, "busy", f"Events arrive faster than they can be stored ({error}): send this again.", retry_after=1
        ) from error
    _nudge(rows)  # not by the leader of the group: the others would wait for the broker with it
    return [receipt]


def _store_within(rows: Sequence[Row]) -> list[Receipt]:
    """Rows in the caller's transaction."""
    with transaction.atomic(), connection.wrap_database_errors:
        cursor = psycopg.Cursor(connection.connection)
        cursor.format = psycopg.pq.Format.BINARY
        receipts = _store(cursor, rows)
        transaction.on_commit(lambda: _nudge(rows))
    return receipts


def _store_batch(batch: batches.Batch) -> list[Receipt]:
    receipts = _over_kept_connection(lambda cursor: batches.store(cursor, batch))
    if receipts is None:
        return _store_many(rows_of(batch.project_id, batch.app_id, batch.events))
    _nudge(batch.events)
    return receipts


def _store_many(rows: Sequence[Row]) -> list[Receipt]:
    """Rows in a transaction of their own."""

    def work(cursor: Cursor) -> list[Receipt]:
        with cursor.connection.transaction():
            return _store(cursor, rows)

    receipts = _over_kept_connection(work)
    _nudge(rows)
    return receipts


def _over_kept_connection(work: Callable[[Cursor], T]) -> T:
    """What `work` gives; where another writer locked what it needs, it is tried again.

    One batch at a time: its connection is warm, and two that write to the same indexes would wait for each other anyway.
    """
    for attempt in range(MAX_DEADLOCKS):
        try:
            with _kept_for_batches.cursor(patience=PATIENCE_SECONDS) as cursor:
                cursor.format = psycopg.pq.Format.BINARY
                return work(cursor)
        except OperationalError as error:
            if attempt == MAX_DEADLOCKS - 1 or not isinstance(error.__cause__, DeadlockDetected):
                raise
    raise AssertionError("the last attempt returns or raises")


def _store_group(rows: Sequence[Row]) -> list[Receipt]:
    """Rows over the kept connection, where each statement is a transaction."""
    for line, row in enumerate(rows):
        row.line = line
    with _kept.cursor() as cursor:
        return _store(cursor, rows)


def _nudge(events: Sequence[Row] | Sequence[NewEvent]) -> None:
    if any(e.kind == "comment" for e in events):
        outbox.nudge()


def _store(cursor: Cursor, rows: Sequence[Row]) -> list[Receipt]:
    if len(rows) < COPY_FROM:
        cursor.execute(_STORE_JSON, [msgspec.json.encode(rows).decode()], prepare=True)
    else:
        cursor.execute(_INCOMING)
        with cursor.copy(_COPY) as copy:
            copy.set_types(list(_TYPES.values()))
            for row in map(msgspec.structs.astuple, rows):
                copy.write_row(row)
        cursor.execute(_STORE_COPIED, prepare=True)
    present = {r[0] for r in cursor}
    if not present:
        return [Receipt(row.id, "stored") for row in rows]
    known = _known_bodies(cursor, [r for r in rows if r.id in present])
    return [
        _receipt(row, known[row.project_id, row.event_id]) if row.id in present else Receipt(row.id, "stored")
        for row in rows
    ]


def _known_bodies(cursor: Cursor, rows: Sequence[Row]) -> dict[tuple[int, str | None], tuple[uuid.UUID, bytes]]:
    cursor.execute(_KNOWN, [[r.project_id for r in rows], [r.event_id for r in rows]])
    known = {(project, event_id): (pk, bytes(sha)) for project, event_id, pk, sha in cursor}
    if any((r.project_id, r.event_id) not in known for r in rows):
        raise OperationalError("an event was erased while its duplicate arrived")
    return known


def _receipt(row: Row, known: tuple[uuid.UUID, bytes]) -> Receipt:
    pk, sha = known
    return Receipt(pk, "duplicate") if sha == row.request_sha else Receipt(None, "conflict")


_kept, _kept_for_batches = KeptConnection(), KeptConnection()
_singles: GroupCommit[Row, Receipt] = GroupCommit(
    _store_group, largest=LARGEST_GROUP, waiting=MAX_WAITING, patience=PATIENCE_SECONDS,
    shared=(OperationalError, InterfaceError),
)  # fmt: skip


def close() -> None:
    """Give the kept connections back (tests, whose database goes away)."""
    _kept.close()
    _kept_for_batches.close()


_JOIN = """
    WITH joined AS (
        UPDATE feedback_event e SET inquiry_id = i.id FROM feedback_inquiry i
        WHERE e.inquiry_id IS NULL AND i.project_id = e.project_id AND i.external_id = e.inquiry_ref AND {which}
        RETURNING e.project_id, e.id
    )
    INSERT INTO feedback_unscored (project_id, events, anew) SELECT project_id, array_agg(id), '{{}}' FROM joined GROUP BY 1"""


def join_held(*, inquiry_id: uuid.UUID) -> None:
    """Give a new inquiry the events that came before it. The caller holds the transaction that stores the inquiry."""
    with connection.cursor() as cursor:
        cursor.execute(_JOIN.format(which="i.id = %s"), [inquiry_id])


def join_missed(*, within: timedelta = timedelta(hours=1)) -> int:
    """Join events whose inquiry was being stored in the same moment, when neither side could see the other yet."""
    with connection.cursor() as cursor:
        cursor.execute(_JOIN.format(which="e.received_at > %s"), [datetime.now(UTC) - within])
        return int(cursor.rowcount)


def sweep_orphans(*, within: timedelta = timedelta(hours=1)) -> int:
    """Delete events whose inquiry was erased while they were being stored (docs/decisions/0010), and what was sealed of them."""
    first = uuid.UUID(int=int((datetime.now(UTC) - within).timestamp() * 1000) << 80)  # ids begin with their time
    with connection.cursor() as cursor:
        cursor.execute(
            """WITH gone AS (
                DELETE FROM feedback_event e WHERE e.id >= %s AND e.inquiry_id IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM feedback_inquiry i WHERE i.id = e.inquiry_id) RETURNING e.id
            ), sealed AS (DELETE FROM feedback_original o USING gone WHERE o.event = gone.id)
            SELECT count(*) FROM gone""",
            [first],
        )
        return int(cursor.fetchone()[0])
