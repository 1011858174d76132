"""The plain endpoints of feedback/, as the OpenAPI document shows them."""

from __future__ import annotations

import uuid
from typing import Literal

import msgspec

from feedback.described import JSON, Described, describe
from feedback.event_shape import EventIn


class ReceiptOut(msgspec.Struct, gc=False):
    """What became of one event; a conflict has no id."""

    id: uuid.UUID | None
    result: Literal["stored", "duplicate", "conflict"]


class ReceiptsOut(msgspec.Struct):
    """One result per event, in their order."""

    results: list[ReceiptOut]


class LineErrorOut(msgspec.Struct):
    """What is wrong with a line."""

    type: str
    detail: str
    field: str | None


class LineOut(msgspec.Struct, omit_defaults=True, gc=False):
    """What became of one line of a stream; `error` where it is invalid."""

    line: int
    id: uuid.UUID | None
    result: Literal["stored", "duplicate", "conflict", "invalid"]
    error: LineErrorOut | msgspec.UnsetType = msgspec.UNSET


class LinesOut(msgspec.Struct):
    """One result per line that is not blank, and how many there are of each."""

    results: list[LineOut]
    counts: dict[str, int]


describe(
    "feedback",
    Described(
        method="post", tag="feedback", bodies={JSON: (EventIn, list[EventIn]), "application/x-ndjson": EventIn},
        answers={200: (ReceiptOut, ReceiptsOut, LinesOut), 201: (ReceiptOut, ReceiptsOut, LinesOut)},
    ),
)  # fmt: skip
