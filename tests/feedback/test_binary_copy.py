"""Fields as COPY reads them, held against the dumpers of psycopg."""

from __future__ import annotations

import doctest
import struct
import uuid
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import PyFormat, Transformer
from psycopg.types.numeric import Int8

from feedback import binary_copy as binary

INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def field(value: object) -> bytes:
    """Length and bytes of one field, as psycopg writes it in binary."""
    dumped = bytes(Transformer().get_dumper(value, PyFormat.BINARY).dump(value) or b"")
    return struct.pack("!i", len(dumped)) + dumped


def test_its_worked_example_holds():
    assert doctest.testmod(binary).failed == 0


@given(st.integers(-(2**63), 2**63 - 1), st.floats(), TEXTS, st.binary())
def test_plain_values_are_written_as_psycopg_writes_them(number, real, words, some_bytes):
    assert binary.int8(number) == field(Int8(number))
    assert binary.float8(real) == field(real)
    assert binary.text(words) == field(words)
    assert binary.raw(some_bytes) == field(some_bytes)


@given(INSTANTS)
def test_instants_are_exact_to_the_microsecond(at):
    assert binary.timestamp(at) == field(at)


@given(st.lists(st.uuids(), max_size=5))
def test_ids_are_written_as_one_array(ids):
    written = binary.uuids([pk.bytes for pk in ids])
    head = struct.unpack("!3i", written[:12])
    assert head == ((1, 0, binary.UUID_OID) if ids else (0, 0, binary.UUID_OID))
    assert written[20:] == b"".join(field(pk) for pk in ids)
    assert written[12:20] == (struct.pack("!2i", len(ids), 1) if ids else b"")


def test_what_is_absent_is_null():
    assert {binary.int8(None), binary.float8(None), binary.text(None), binary.raw(None)} == {binary.NULL}
    assert binary.raw(uuid.UUID(int=0).bytes) != binary.NULL
