"""CSV, read from whatever spreadsheets write (BOM, UTF-16, semicolons, tabs) and written for people to open."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from labeling.exchange.cells import GUARDED, guard, unguard
from labeling.exchange.rows import TEXT, Fault, Reading, Refused, Rows, renamed

ENCODINGS = ("utf-8", "utf-16", "cp932", "shift_jis", "euc_jp", "iso2022_jp", "cp1252", "latin-1")
DELIMITERS = (",", ";", "\t")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_csv(path: Path, reading: Reading) -> Rows:
    """Rows of a CSV file. Raises `Refused` where the file as a whole is no such file."""
    with open_text(path, reading.encoding) as handle:
        header, reader = _header(handle, reading)
        while True:
            number = reader.line_num + 2  # the first line holds the names
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Fault(number, "", f"cannot be read as CSV ({error}): look for a quote that is not closed")
                continue
            except UnicodeError as error:
                raise Refused(
                    f"The file breaks off at line {number}: it is not {reading.encoding or 'UTF-16'}. ({error})"
                ) from error
            if not any(cells):
                continue
            if len(cells) != len(header):
                yield Fault(number, "", _ragged(len(cells), len(header)))
                continue
            yield renamed(number, unguard(dict(zip(header, cells, strict=True))), reading)


def open_text(path: Path, encoding: str) -> TextIO:
    """The file as text. Bytes that are not in the encoding stay as lone surrogates, so that only their own row is refused."""
    if encoding and encoding not in ENCODINGS:
        raise Refused(f"The encoding {encoding!r} is not known here: choose one of {', '.join(ENCODINGS)}.")
    with path.open("rb") as handle:
        start = handle.read(4)
    if not start:
        raise Refused("The file is empty: export it again.")
    if start.startswith((b"PK", b"\xd0\xcf\x11\xe0")):
        raise Refused("The file is a spreadsheet or an archive, not CSV: save it as CSV (UTF-8) and send that.")
    marked = next((name for mark, name in _MARKS if start.startswith(mark)), "")
    chosen = marked or encoding or "utf-8"
    return path.open(encoding=chosen, newline="", errors="strict" if chosen == "utf-16" else "surrogateescape")


def _header(handle: TextIO, reading: Reading) -> tuple[list[str], Any]:
    try:
        first = handle.readline(100_000)
    except UnicodeError as error:
        raise Refused(f"The first line cannot be read: name the file's encoding. ({error})") from error
    delimiter = max(DELIMITERS, key=lambda d: len(next(csv.reader([first], delimiter=d), [])))
    header = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])]
    if any("\udc80" <= c <= "\udcff" for name in header for c in name):
        raise Refused("The first line is not UTF-8: save the file as UTF-8, or name its encoding.")
    twice = [name for name, n in Counter(header).items() if n > 1 and name]
    if twice:
        raise Refused(f"The column {twice[0]!r} is there twice: rename or remove one of them.")
    for ours, theirs in reading.columns.items():
        if theirs and theirs not in header:
            raise Refused(f"There is no column {theirs!r} for the {ours}; the file has {', '.join(header)[:300]}.")
    if not {reading.theirs(TEXT), "external_id", "inquiry"} & set(header):
        raise Refused(
            f"There is no column {reading.theirs(TEXT)!r}; the file has {', '.join(header)[:300]}. Name the column of the text, "
            "or write the column names into the first line."
        )
    return header, csv.reader(handle, delimiter=delimiter)


def _ragged(cells: int, columns: int) -> str:
    more = "a comma that is not in quotes?" if cells > columns else "a line break that is not in quotes?"
    return f"has {cells} cells where the first line has {columns}: {more}"


def write_csv(rows: Iterable[Sequence[str]], header: Sequence[str], *, bom: bool = False) -> Iterator[bytes]:
    """CSV in pieces, one per page of rows. Every cell is quoted and none starts a formula."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    writer.writerow([*header, GUARDED])
    yield (codecs.BOM_UTF8 if bom else b"") + _take(buffer)
    for row in rows:
        writer.writerow(guard(dict(zip(header, row, strict=True))).values())
        if buffer.tell() > 64_000:
            yield _take(buffer)
    yield _take(buffer)


def _take(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()
