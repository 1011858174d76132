"""What an event looks like on its way in, and what is wrong with one that does not."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from feedback.incoming import NewEvent
from feedback.problems import Problem, invalid
from feedback.rules import Rules
from feedback.texts import fault_in

Reference = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_BOUNDS = {"dwell": (0.0, 86_400.0), "scroll": (0.0, 1.0), "nps": (0.0, 10.0)}
_WITHOUT_VALUE = frozenset({"impression", "click", "comment"})
_THUMBS: dict[float | str | None, float] = {"up": 1.0, "down": -1.0, 1: 1.0, -1: -1.0}


class EventIn(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One feedback event: `value` is seconds (dwell), share (scroll), ±1 or up/down (thumbs), points (rating, nps)."""

    inquiry: Reference
    type: Literal["impression", "click", "dwell", "scroll", "thumbs", "rating", "nps", "comment"]
    value: float | str | None = None
    text: str | None = None
    event_id: Reference | None = None
    customer: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    occurred_at: datetime | None = None


_encode = msgspec.json.Encoder().encode


def checked(event: EventIn, rules: Rules, *, at: str = "", weight: float = 1.0) -> NewEvent:
    """The event as a service takes it. Raises Problem 422 naming the field, with `at` before it.

    The digest that tells a repeated event from another one with its id is taken of what was sent, not of what is stored.
    """
    kind, at_time = event.type, event.occurred_at
    value = None if event.value is None and kind in _WITHOUT_VALUE else _value(event, rules, at)
    text = "" if event.text is None and kind != "comment" else _text(event, at)
    if at_time is not None and at_time.tzinfo is not UTC:
        at_time = _instant(at_time, at)
    event_id, customer = event.event_id, event.customer or ""
    if not (event.inquiry.isprintable() and (event_id or "").isprintable() and customer.isprintable()):
        raise _unprintable(event, at)
    digest = hashlib.sha256(_encode(event)).digest()
    return NewEvent(event.inquiry, kind, value, text, digest, event_id, customer, at_time, weight)


def _unprintable(event: EventIn, at: str) -> Problem:
    if not event.inquiry.isprintable():
        return invalid(f"{at}inquiry", "A reference consists of printable characters.")
    if not (event.event_id or "").isprintable():
        return invalid(f"{at}event_id", "An event_id consists of printable characters.")
    return invalid(f"{at}customer", "A customer's id consists of printable characters.")


def _text(event: EventIn, at: str) -> str:
    if event.type != "comment":
        if event.text is not None:
            raise invalid(f"{at}text", "Only a comment has a text.")
        return ""
    text = event.text or ""
    if fault := fault_in(text):
        raise invalid(f"{at}text", f"The comment {fault}.")
    return text


def _instant(given: datetime, at: str) -> datetime:
    if given.tzinfo is None:
        raise invalid(f"{at}occurred_at", "The time needs its offset from UTC, such as 2026-01-31T12:00:00Z.")
    try:
        return given.astimezone(UTC)
    except OverflowError as error:
        raise invalid(f"{at}occurred_at", "The time lies outside the calendar (years 1 to 9999).") from error


def _value(event: EventIn, rules: Rules, at: str) -> float:
    """The number that this kind of event carries; 422 where it is absent, out of range or out of place."""
    if event.type in _WITHOUT_VALUE:
        raise invalid(f"{at}value", f"An event of type {event.type} has no value.")
    if event.type == "thumbs":
        if event.value not in _THUMBS:
            raise invalid(f"{at}value", "Thumbs are «up» or «down» (or 1, −1).")
        return _THUMBS[event.value]
    low, high = _BOUNDS.get(event.type) or (rules.rating_min, rules.rating_max)
    if not isinstance(event.value, (int, float)) or not low <= event.value <= high:
        raise invalid(f"{at}value", f"An event of type {event.type} needs a number from {low:g} to {high:g}.")
    return float(event.value)
