"""What a file holds, row by row, and what can be wrong with a row. Pure: neither Django nor the database."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from feedback.texts import fault_in

TEXT, LABEL = "text", "label"
KNOWN = ("inquiry", TEXT, LABEL, "external_id", "locale", "customer", "channel", "metadata")
LIMITS = {LABEL: 200, "external_id": 200, "customer": 200, "channel": 50, "locale": 16}
MAX_METADATA = 4_096
# Columns that an export adds and that say nothing about the inquiry itself: an import leaves them.
EXPORTED = frozenset({
    "label_name", "source", "resolution", "agreement", "annotators", "saw_suggestion", "suggestion", "suggested_by", "fold",
    "revision", "settled_at", "annotations", "guarded",
})  # fmt: skip
_LOCALE = re.compile(r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as the file has it; `number` is where a person finds it (line, or item counted from 1)."""

    number: int
    cells: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row was not taken, and what to do; `field` is the column, or empty for the row as a whole."""

    number: int
    field: str
    advice: str


class Refused(Exception):
    """Nothing in this file can be read: what is wrong with it, as a sentence that says what to do."""


@dataclass(frozen=True)
class Reading:
    """How to read a file: its encoding where it is not UTF-8, and its own names for our columns."""

    encoding: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    def theirs(self, ours: str) -> str:
        return self.columns.get(ours) or ours


Rows = Iterator[Row | Fault]


@dataclass(frozen=True, slots=True)
class Item:
    """A checked row. `external_id` is always there: without one of its own it is made from the text."""

    number: int
    text: str
    label: str
    external_id: str
    named: bool
    inquiry: uuid.UUID | None
    locale: str
    customer: str
    channel: str
    metadata: dict[str, Any]


def renamed(number: int, cells: Mapping[str, Any], reading: Reading) -> Row:
    """The row under our names; absent and empty cells are left out."""
    ours = {theirs: name for name, theirs in reading.columns.items() if theirs}
    return Row(number, {ours.get(k, k): v for k, v in cells.items() if v is not None and v != ""})


def check(row: Row) -> Item | Fault:
    """The row as an item, or the first thing that is wrong with it."""
    cells = {k: str(v) if k == "external_id" and type(v) is int else v for k, v in row.cells.items()}
    for name in (TEXT, *LIMITS):
        if advice := _fault(name, cells.get(name, "")):
            return Fault(row.number, name, advice)
    metadata, advice = _metadata(cells)
    if advice:
        return Fault(row.number, "metadata", advice)
    text, given = str(cells.get(TEXT, "")), str(cells.get("external_id", ""))
    inquiry = _uuid(cells.get("inquiry"))
    if not text and not given and inquiry is None:
        return Fault(row.number, TEXT, "is empty: give the customer's text, or the external_id of a known inquiry")
    return Item(
        row.number, text, str(cells.get(LABEL, "")), given or made_id(text), bool(given), inquiry, str(cells.get("locale", "")),
        str(cells.get("customer", "")), str(cells.get("channel", "")), metadata,
    )  # fmt: skip


def made_id(text: str) -> str:
    """The external_id of a row that has none: the same text is the same inquiry, so a second import adds nothing."""
    return "import-" + hashlib.sha256(text.encode()).hexdigest()[:32]


def _fault(name: str, value: Any) -> str:
    if not isinstance(value, str):
        return f"is {type(value).__name__}, not text: write it as text"
    if any("\udc80" <= c <= "\udcff" for c in value):
        return "is not in the encoding of the file: save the file as UTF-8, or name its encoding"
    if name == TEXT:
        return (fault_in(value) or "") if value else ""
    if len(value) > LIMITS[name]:
        return f"has {len(value):,} characters, up to {LIMITS[name]} are allowed: shorten it"
    if name == "locale" and value and not _LOCALE.match(value):
        return f"{value!r} is no language tag: write it like en or ja-JP"
    return "holds control characters: send plain text" if not value.isprintable() else ""


def _metadata(cells: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The metadata with every column that we have no name for, so that nothing is lost; and what is wrong with it."""
    given = cells.get("metadata", {})
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            return {}, 'is no JSON: write an object such as {"order": 17}'
    if not isinstance(given, dict):
        return {}, 'is no JSON object: write it like {"order": 17}'
    merged = {str(k): v for k, v in cells.items() if k not in KNOWN and k not in EXPORTED} | given
    try:
        encoded = json.dumps(merged, ensure_ascii=False, default=str).encode()
    except (ValueError, UnicodeEncodeError):
        return {}, "is not in the encoding of the file: save the file as UTF-8, or name its encoding"
    if len(encoded) > MAX_METADATA:
        return (
            {},
            f"has {len(encoded):,} bytes with the columns that have no name here, up to {MAX_METADATA:,} are allowed: leave some out",
        )
    if b"\\u0000" in encoded:
        return {}, "holds a NUL character: remove it"
    return json.loads(encoded), ""


def _uuid(value: Any) -> uuid.UUID | None:
    try:
        return uuid.UUID(str(value)) if value else None
    except ValueError:
        return None
