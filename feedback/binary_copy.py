"""Fields in the binary format of PostgreSQL's COPY (documentation, "COPY", section "Binary Format"). Pure.

psycopg writes rows by calling one dumper for each value; of an event's fourteen values most are the same in the whole batch
or of a fixed size, so that joining ready pieces costs a third. Only the types that events have are here.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
UUID_OID, UUIDS_OID = 2950, 2951
_ARRAY, _SIXTEEN, _EMPTY = struct.Struct("!5i"), b"\0\0\0\x10", struct.pack("!3i", 0, 0, UUID_OID)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_LENGTH, _COUNT = struct.Struct("!i"), struct.Struct("!h")
_INT8, _FLOAT8 = struct.Struct("!iq"), struct.Struct("!id")


def columns(count: int) -> bytes:
    """What each row begins with."""
    return _COUNT.pack(count)


def int8(value: int | None) -> bytes:
    return NULL if value is None else _INT8.pack(8, value)


def float8(value: float | None) -> bytes:
    return NULL if value is None else _FLOAT8.pack(8, value)


def text(value: str | None) -> bytes:
    """Any type whose binary form is its bytes in UTF-8: text, varchar."""
    if value is None:
        return NULL
    encoded = value.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def raw(value: bytes | None) -> bytes:
    """Any type whose binary form are its bytes: bytea, uuid."""
    return NULL if value is None else _LENGTH.pack(len(value)) + value


def uuids(values: Sequence[bytes]) -> bytes:
    """An array of uuids as a parameter or field holds it: one dimension, no NULL, the type's oid, counted from 1."""
    if not values:
        return _EMPTY
    return _ARRAY.pack(1, 0, UUID_OID, len(values), 1) + b"".join([_SIXTEEN + v for v in values])


def timestamp(at: datetime) -> bytes:
    return _INT8.pack(8, microseconds(at))


def microseconds(at: datetime) -> int:
    """An instant as PostgreSQL counts it: microseconds since 2000, exactly.

    >>> microseconds(datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
