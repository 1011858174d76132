"""The plain endpoints of feedback/, as the OpenAPI document shows them."""

from __future__ import annotations

import uuid
from typing import Literal

import msgspec

from feedback.api import EventIn
from feedback.described import JSON, Described, describe


class ReceiptOut(msgspec.Struct):
    """What became of one event; a conflict has no id."""

    id: uuid.UUID | None
    result: Literal["stored", "duplicate", "conflict"]


class ReceiptsOut(msgspec.Struct):
    """One result per event, in their order."""

    results: list[ReceiptOut]


describe(
    "feedback",
    Described(
        method="post", tag="feedback", bodies={JSON: (EventIn, list[EventIn])},
        answers={200: (ReceiptOut, ReceiptsOut), 201: (ReceiptOut, ReceiptsOut)},
    ),
)  # fmt: skip
