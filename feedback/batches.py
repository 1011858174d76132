"""A batch of which nothing is stored yet: its rows go by COPY straight into the table, joined to their inquiries before.

Almost every batch is such a one. Where an event_id of it is known already nothing is stored here, and the statement of
feedback/ingest.py, which tells the known from the new, stores the batch instead (docs/decisions/0019).
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.errors import UniqueViolation

from feedback import binary_copy as binary
from feedback.ids import uuid7s
from feedback.incoming import KEY, MAX_SKEW, NewEvent, Receipt, masked_and_sealed, publish_comments

Cursor = psycopg.Cursor[tuple[Any, ...]]
_COLUMNS = (
    "project_id", "app_id", "received_at", "id", "occurred_at", "request_sha", "weight", "value", "inquiry_ref", "inquiry_id",
    "kind", "event_id", "customer", "text",
)  # fmt: skip
_COPY = f"COPY feedback_event ({', '.join(_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
_OWN = struct.Struct("!i16siqi32sid")  # id, occurred_at, request_sha and weight, each after its length
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BY_NAME = "SELECT external_id, id FROM feedback_inquiry WHERE project_id = %s AND external_id = ANY(%s)"
_BY_ID = "SELECT id FROM feedback_inquiry WHERE project_id = %s AND id = ANY(%s)"
_SAMPLE = f"""
    SELECT 1 FROM feedback_event WHERE event_id IS NOT NULL AND {KEY.format(project="project_id", event_id="event_id")}
    = ANY(ARRAY(SELECT {KEY.format(project="%s", event_id="e")} FROM unnest(%s::text[]) AS e)) LIMIT 1"""
_FOLLOW = f"""
    WITH queued AS (
        INSERT INTO feedback_unscored (project_id, events, anew)
        SELECT %(project)s, %(joined)s::uuid[], '{{}}' WHERE %(joined)s <> '{{}}'
    ), kept AS (
        INSERT INTO feedback_original (project_id, event, sealed)
        SELECT %(project)s, * FROM unnest(%(hidden)s::uuid[], %(sealed)s::bytea[])
    )
    {publish_comments("SELECT %(project)s::int8 AS project_id, unnest(%(comments)s::uuid[]) AS id")}"""


class Batch:
    """Events with their ids and with what may be shown of their texts: all that can be made before the transaction."""

    def __init__(self, project_id: int, app_id: int | None, events: Sequence[NewEvent]) -> None:
        self.project_id, self.app_id, self.events = project_id, app_id, events
        self.ids = uuid7s(len(events))
        texts = {i: masked_and_sealed(project_id, e.text) for i, e in enumerate(events) if e.text}
        self.texts = {i: text for i, (text, _) in texts.items()}
        self.sealed = {i: sealed for i, (_, sealed) in texts.items() if sealed is not None}

    def names(self) -> list[str]:
        return [e.event_id for e in self.events if e.event_id is not None]


def store(cursor: Cursor, batch: Batch) -> list[Receipt] | None:
    """All of the batch in a transaction of its own; nothing and None where an event_id is known or comes twice."""
    names = batch.names()
    if len(set(names)) < len(names):
        return None
    try:
        with cursor.connection.transaction():
            if names and _sample_is_known(cursor, batch.project_id, names):
                return None
            _write(cursor, batch, _inquiries(cursor, batch))
    except UniqueViolation:
        return None
    return [Receipt(pk, "stored") for pk in batch.ids]


def _sample_is_known(cursor: Cursor, project_id: int, names: Sequence[str]) -> bool:
    """Whether the first, the middle or the last event is stored: what is sent again is mostly sent again as it was.

    This only saves a COPY that would be taken back; the index is what makes sure.
    """
    sample = [names[0], names[len(names) // 2], names[-1]]
    return bool(cursor.execute(_SAMPLE, [project_id, sample], prepare=True).fetchall())


def _inquiries(cursor: Cursor, batch: Batch) -> dict[str, uuid.UUID]:
    """The inquiries that are stored already, by the reference that the app used: its own, or else Enso's id."""
    refs = {e.inquiry_ref for e in batch.events}
    found: dict[str, uuid.UUID] = dict(cursor.execute(_BY_NAME, [batch.project_id, list(refs)], prepare=True).fetchall())
    ids = {r: uuid.UUID(r) for r in refs - found.keys() if len(r) == 36 and _UUID.fullmatch(r)}
    if ids:
        stored = {pk for (pk,) in cursor.execute(_BY_ID, [batch.project_id, list(ids.values())], prepare=True)}
        found |= {ref: pk for ref, pk in ids.items() if pk in stored}
    return found


def _write(cursor: Cursor, batch: Batch, inquiries: dict[str, uuid.UUID]) -> None:
    with cursor.copy(_COPY) as copy:
        copy.write(_rows(batch, inquiries))
    events, ids = batch.events, batch.ids
    cursor.execute(
        _FOLLOW,
        {
            "project": batch.project_id,
            "joined": _array([pk for pk, e in zip(ids, events, strict=True) if e.inquiry_ref in inquiries]),
            "comments": _array([pk for pk, e in zip(ids, events, strict=True) if e.kind == "comment"]),
            "hidden": _array([ids[i] for i in batch.sealed]),
            "sealed": list(batch.sealed.values()),
        },
        prepare=True,
    )


def _array(ids: Sequence[uuid.UUID]) -> str:
    """As PostgreSQL reads it; one text costs a fraction of as many values."""
    return f"{{{','.join([f'{pk.int:032x}' for pk in ids])}}}"


def _rows(batch: Batch, inquiries: dict[str, uuid.UUID]) -> bytes:
    """What COPY reads. In the order of the event_ids, so that two transactions never wait for each other."""
    now = datetime.now(UTC)
    latest = now + MAX_SKEW
    received = binary.microseconds(now)
    same = binary.columns(len(_COLUMNS)) + binary.int8(batch.project_id) + binary.int8(batch.app_id) + binary.timestamp(now)
    joined = {r: binary.text(r) + binary.raw(pk.bytes) for r, pk in inquiries.items()}
    own, micros, text, float8, events, ids = _OWN.pack, binary.microseconds, binary.text, binary.float8, batch.events, batch.ids
    names = [e.event_id or "" for e in events]
    parts = [binary.HEADER]
    for i in sorted(range(len(events)), key=names.__getitem__):
        e = events[i]
        at = e.occurred_at
        then = received if at is None or at > latest else micros(at)
        parts += (
            same,
            own(16, ids[i].bytes, 8, then, 32, e.request_sha, 8, e.weight),
            float8(e.value),
            joined.get(e.inquiry_ref) or text(e.inquiry_ref) + binary.NULL,
            text(e.kind),
            text(e.event_id),
            text(e.customer),
            text(batch.texts.get(i, "")),
        )
    parts.append(binary.TRAILER)
    return b"".join(parts)
