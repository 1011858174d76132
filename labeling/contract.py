"""The plain endpoints of labeling/, as the OpenAPI document shows them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import msgspec

from feedback.described import JSON, Described, Parameter, describe
from labeling.desk_api import AnnotationIn, LeaseIn, NextIn
from labeling.exchange.formats import FORMATS, STREAMED


class LeaseOut(msgspec.Struct):
    """How long an item is the caller's; `expires_in` in seconds, for clients whose clock is wrong."""

    expires_at: datetime
    expires_in: int


class HeldOut(LeaseOut, kw_only=True):
    token: uuid.UUID


class ItemOut(msgspec.Struct):
    """An item to be labeled, and the lease on it."""

    task: dict[str, Any]
    lease: HeldOut


class FollowingOut(HeldOut, kw_only=True):
    """The prefetched item, which is in hand now."""

    task: int


class AnnotatedOut(msgspec.Struct):
    """`extra`: the lease was lost, so the answer is kept but not counted."""

    annotation: int
    task: int
    state: str
    extra: bool
    next: FollowingOut | None


class RenewedOut(msgspec.Struct):
    lease: LeaseOut


_PEOPLE = ("cookieAuth",)
describe(
    "queue-next",
    Described("post", "queue", {JSON: NextIn}, {200: ItemOut, 204: None}, body_required=False, security=_PEOPLE),
)
describe("task-annotations", Described("post", "tasks", {JSON: AnnotationIn}, {201: AnnotatedOut}, security=_PEOPLE))
describe("task-heartbeat", Described("post", "tasks", {JSON: LeaseIn}, {200: RenewedOut}, security=_PEOPLE))
_STREAMED_MEDIA = sorted({FORMATS[name].media_type.partition(";")[0] for name in STREAMED})
describe(
    "labels",
    Described(
        method="get", tag="labels", answers={200: {m: list[dict[str, Any]] if m == JSON else str for m in _STREAMED_MEDIA}},
        parameters=(
            Parameter("format", "query", "How the labels are written.", {"type": "string", "enum": sorted(STREAMED)}),
            Parameter("since", "query", "Only what was settled from then on, with its offset.", {"type": "string"}),
            Parameter("project", "query", "The project's slug; a key has only its own.", {"type": "string"}),
            Parameter("bom", "query", "1: a byte order mark first, for spreadsheets.", {"type": "string"}),
        ),
    ),
)  # fmt: skip
