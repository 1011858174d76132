"""The plain endpoints of feedback/, as the OpenAPI document shows them."""

from __future__ import annotations

import uuid
from typing import Literal

import msgspec

from feedback.described import JSON, Described, describe
from feedback.event_shape import EventIn


class ReceiptOut(msgspec.Struct):
    """What became of one event; a conflict has no id."""

    id: uuid.UUID | None
    result: Literal["stored", "duplicate", "conflict"]


class ReceiptsOut(msgspec.Struct):
    """One result per event, in their order."""

    results: list[ReceiptOut]


class LineFault(msgspec.Struct):
    """Why a line was not taken."""

    detail: str


class LineOut(msgspec.Struct):
    """What became of one line; `line` counts from 1."""

    line: int
    id: uuid.UUID | None
    result: Literal["stored", "duplicate", "conflict", "invalid"]
    error: LineFault | None = None


class LinesOut(msgspec.Struct):
    """One result per line that is not blank, and how many of each."""

    results: list[LineOut]
    counts: dict[str, int]


describe(
    "feedback",
    Described(
        method="post", tag="feedback", bodies={JSON: (EventIn, list[EventIn]), "application/x-ndjson": str},
        answers=dict.fromkeys((200, 201), (ReceiptOut, ReceiptsOut, LinesOut)),
    ),
)  # fmt: skip
