"""POST /api/v1/feedback."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from django.http import HttpRequest, HttpResponse

from feedback import limits, services
from feedback.http import decode, endpoint, json_response, read_body
from feedback.keys import Principal
from feedback.models import Project
from feedback.problems import Problem, invalid
from feedback.texts import fault_in

MAX_EVENTS = 10_000
Reference = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
BOUNDS = {"dwell": (0.0, 86_400.0), "scroll": (0.0, 1.0), "nps": (0.0, 10.0)}


class EventIn(msgspec.Struct, forbid_unknown_fields=True):
    """One feedback event: `value` is seconds (dwell), share (scroll), ±1 or up/down (thumbs), points (rating, nps)."""

    inquiry: Reference
    type: Literal["impression", "click", "dwell", "scroll", "thumbs", "rating", "nps", "comment"]
    value: float | str | None = None
    text: str | None = None
    event_id: Reference | None = None
    customer: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    occurred_at: datetime | None = None


@endpoint("POST", scope="feedback:write")
def feedback(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Store one event (an object) or many (an array); each is answered with its id and what became of it."""
    body = read_body(request)
    many = body.lstrip()[:1] == b"["
    parsed: list[EventIn] = decode(body, list[EventIn]) if many else [decode(body, EventIn)]
    if len(parsed) > MAX_EVENTS:
        raise Problem(413, "too-large", f"Up to {MAX_EVENTS:,} events at once: send the rest in another request.")
    limits.spend(request, principal, limits.EVENT_SHARE * (len(parsed) - 1))
    project = Project.objects.get(pk=principal.project_id)
    events = [_checked(e, project, f"[{i}]." if many else "") for i, e in enumerate(parsed)]
    receipts = services.record_feedback(project_id=principal.project_id, app_id=principal.app_id, events=events)
    results = [{"id": r.id and str(r.id), "result": r.result} for r in receipts]
    if many:
        return json_response({"results": results}, status=201 if any(r.result == "stored" for r in receipts) else 200)
    if receipts[0].result == "conflict":
        raise Problem(409, "idempotency-conflict", "This event_id was used with another body.", field="event_id")
    return json_response(results[0], status=201 if receipts[0].result == "stored" else 200)


def _checked(event: EventIn, project: Project, at: str) -> services.NewEvent:
    value = _value(event, project, at)
    text = event.text or ""
    if event.type == "comment" and (fault := fault_in(text)):
        raise invalid(f"{at}text", f"The comment {fault}.")
    if event.type != "comment" and event.text is not None:
        raise invalid(f"{at}text", "Only a comment has a text.")
    return services.NewEvent(
        inquiry_ref=event.inquiry, kind=event.type, value=value, text=text, event_id=event.event_id,
        request_sha=hashlib.sha256(msgspec.json.encode(event)).digest(), customer=event.customer or "",
        occurred_at=_instant(event, at),
    )  # fmt: skip


def _instant(event: EventIn, at: str) -> datetime | None:
    if event.occurred_at is None:
        return None
    if event.occurred_at.tzinfo is None:
        raise invalid(f"{at}occurred_at", "The time needs its offset from UTC, such as 2026-01-31T12:00:00Z.")
    return event.occurred_at.astimezone(UTC)


def _value(event: EventIn, project: Project, at: str) -> float | None:
    """The number that this kind of event carries; 422 where it is absent, out of range or out of place."""
    if event.type in ("impression", "click", "comment"):
        if event.value is not None:
            raise invalid(f"{at}value", f"An event of type {event.type} has no value.")
        return None
    if event.type == "thumbs":
        return _thumb(event.value, at)
    low, high = BOUNDS.get(event.type, (float(project.rating_min), float(project.rating_max)))
    if not isinstance(event.value, int | float) or not low <= event.value <= high:
        raise invalid(f"{at}value", f"An event of type {event.type} needs a number from {low:g} to {high:g}.")
    return float(event.value)


def _thumb(value: float | str | None, at: str) -> float:
    known: dict[float | str | None, float] = {"up": 1.0, "down": -1.0, 1: 1.0, -1: -1.0}
    if value not in known:
        raise invalid(f"{at}value", "Thumbs are «up» or «down» (or 1, −1).")
    return known[value]
