"""JSON Lines: one object per line, in UTF-8."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from labeling.exchange.rows import Fault, Reading, Refused, Rows, renamed

MAX_LINE = 1 << 20
_encode = msgspec.json.Encoder().encode


def read_jsonl(path: Path, reading: Reading) -> Rows:
    """Rows of a JSON Lines file; a line that is none is a fault of its own."""
    with path.open("rb") as handle:
        number = 0
        while line := handle.readline(MAX_LINE):
            number += 1
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                _skip(handle)
                yield Fault(number, "", f"is longer than {MAX_LINE:,} bytes: split it")
                continue
            line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if line.strip():
                yield _row(number, line, reading)
        if number == 0:
            raise Refused("The file is empty: export it again.")


def _row(number: int, line: bytes, reading: Reading) -> Any:
    try:
        cells = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Fault(number, "", f"is no JSON ({error}): write one object per line, in UTF-8")
    if not isinstance(cells, dict):
        return Fault(number, "", 'is no JSON object: write it like {"text": "…", "label": "…"}')
    return renamed(number, cells, reading)


def _skip(handle: BinaryIO) -> None:
    while (rest := handle.readline(MAX_LINE)) and not rest.endswith(b"\n"):
        pass


def write_jsonl(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """One object per line, in pieces of some 64 kB."""
    buffer = bytearray()
    for row in rows:
        buffer += _encode(row)
        buffer += b"\n"
        if len(buffer) > 64_000:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer)
