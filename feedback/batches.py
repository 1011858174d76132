"""A batch of which nothing is stored yet: its rows go by COPY straight into the table, joined to their inquiries before.

Almost every batch is such a one. Where an event_id of it is known already nothing is stored here, and the statement of
feedback/ingest.py, which tells the known from the new, stores the batch instead (docs/decisions/0019).
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.adapt import Dumper
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
# A reference has up to 200 characters of up to four bytes.
_SIZES = [struct.pack("!i", size) for size in range(801)]
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Inquiries by name, and a row of NULLs where an event of the sample is stored.
_LOOK = f"""
    SELECT external_id, uuid_send(id) FROM feedback_inquiry WHERE project_id = %(project)s AND external_id = ANY(%(refs)s)
    UNION ALL SELECT NULL, NULL FROM feedback_event WHERE event_id IS NOT NULL
    AND {KEY.format(project="project_id", event_id="event_id")} = ANY(ARRAY(
        SELECT {KEY.format(project="%(project)s", event_id="e")} FROM unnest(%(sample)s::text[]) AS e))"""
_BY_ID = "SELECT uuid_send(id) FROM feedback_inquiry WHERE project_id = %s AND id = ANY(%s)"
_FOLLOW = f"""
    WITH queued AS (
        INSERT INTO feedback_unscored (project_id, events, anew)
        SELECT %(project)s, %(joined)s, '{{}}' WHERE cardinality(%(joined)s) > 0
    ), kept AS (
        INSERT INTO feedback_original (project_id, event, sealed)
        SELECT %(project)s, * FROM unnest(%(hidden)s, %(sealed)s::bytea[])
    )
    {publish_comments("SELECT %(project)s::int8 AS project_id, unnest(%(comments)s) AS id")}"""


class _Ids(bytes):
    """Ids as PostgreSQL takes them in one piece: a dumper for each of them would cost more than storing them."""


class _IdsDumper(Dumper):
    oid, format = binary.UUIDS_OID, psycopg.pq.Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


psycopg.adapters.register_dumper(_Ids, _IdsDumper)


class Batch:
    """Events with their ids and with what may be shown of their texts: all that can be made before the transaction."""

    def __init__(self, project_id: int, app_id: int | None, events: Sequence[NewEvent]) -> None:
        self.project_id, self.app_id, self.events = project_id, app_id, events
        self.ids = uuid7s(len(events))
        self.raw_ids = [pk.int.to_bytes(16, "big") for pk in self.ids]
        at = [i for i, e in enumerate(events) if e.text]
        masked = masked_and_sealed(project_id, [events[i].text for i in at])
        self.texts = {i: text for i, (text, _) in zip(at, masked, strict=True)}
        self.sealed = {i: sealed for i, (_, sealed) in zip(at, masked, strict=True) if sealed is not None}

    def names(self) -> list[str]:
        return [e.event_id for e in self.events if e.event_id is not None]

    def ids_at(self, places: Iterable[int]) -> bytes:
        return _Ids(binary.uuids([self.raw_ids[i] for i in places]))


def store(cursor: Cursor, batch: Batch) -> list[Receipt] | None:
    """All of the batch in a transaction of its own; nothing and None where an event_id is known or comes twice."""
    names = batch.names()
    if len(set(names)) < len(names):
        return None
    try:
        with cursor.connection.transaction():
            inquiries = _inquiries(cursor, batch, names)
            if inquiries is None:
                return None
            _write(cursor, batch, inquiries)
    except UniqueViolation:
        return None
    return [Receipt(pk, "stored") for pk in batch.ids]


def _inquiries(cursor: Cursor, batch: Batch, names: Sequence[str]) -> dict[str, bytes] | None:
    """Ids of the inquiries that are stored already, by the reference that the app used: its own, or else Enso's id.

    None where the first, the middle or the last event is stored: what is sent again is mostly sent again as it was. That only
    saves a COPY that would be taken back; the index is what makes sure.
    """
    refs = {e.inquiry_ref for e in batch.events}
    sample = [names[0], names[len(names) // 2], names[-1]] if names else []
    cursor.execute(_LOOK, {"project": batch.project_id, "refs": list(refs), "sample": sample}, prepare=True)
    found: dict[str, bytes] = dict(cursor.fetchall())
    if None in found:
        return None
    ids = {r: uuid.UUID(r).bytes for r in refs - found.keys() if len(r) == 36 and _UUID.fullmatch(r)}
    if ids:
        given = _Ids(binary.uuids(list(ids.values())))
        stored = {pk for (pk,) in cursor.execute(_BY_ID, [batch.project_id, given], prepare=True)}
        found |= {ref: pk for ref, pk in ids.items() if pk in stored}
    return found


def _write(cursor: Cursor, batch: Batch, inquiries: dict[str, bytes]) -> None:
    with cursor.copy(_COPY) as copy:
        copy.write(_rows(batch, inquiries))
    cursor.execute(
        _FOLLOW,
        {
            "project": batch.project_id,
            "joined": batch.ids_at(i for i, e in enumerate(batch.events) if e.inquiry_ref in inquiries),
            "comments": batch.ids_at(i for i, e in enumerate(batch.events) if e.kind == "comment"),
            "hidden": batch.ids_at(batch.sealed),
            "sealed": list(batch.sealed.values()),
        },
        prepare=True,
    )


def _rows(batch: Batch, inquiries: dict[str, bytes]) -> bytes:
    """What COPY reads. In the order of the event_ids, so that two transactions never wait for each other."""
    now = datetime.now(UTC)
    latest = now + MAX_SKEW
    received = binary.microseconds(now)
    same = (
        binary.columns(len(_COLUMNS))
        + binary.int8(batch.project_id)
        + binary.int8(batch.app_id)
        + binary.timestamp(now)
    )
    joined = {r: binary.text(r) + binary.raw(pk) for r, pk in inquiries.items()}
    kinds = {kind: binary.text(kind) for kind in {e.kind for e in batch.events}}
    empty, texts = binary.text(""), {i: binary.text(text) for i, text in batch.texts.items()}
    own, micros, float8, events, ids = _OWN.pack, binary.microseconds, binary.float8, batch.events, batch.raw_ids
    names = [e.event_id or "" for e in events]
    parts = [binary.HEADER]
    for i in sorted(range(len(events)), key=names.__getitem__):
        e = events[i]
        at, name, customer = e.occurred_at, names[i].encode(), e.customer.encode()
        then = received if at is None or at > latest else micros(at)
        parts += (
            same,
            own(16, ids[i], 8, then, 32, e.request_sha, 8, e.weight),
            float8(e.value),
            joined.get(e.inquiry_ref) or binary.text(e.inquiry_ref) + binary.NULL,
            kinds[e.kind],
            _SIZES[len(name)] if name else binary.NULL,  # an event_id has a character, or there is none
            name,
            _SIZES[len(customer)],
            customer,
            texts.get(i, empty),
        )
    parts.append(binary.TRAILER)
    return b"".join(parts)
