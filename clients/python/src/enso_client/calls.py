"""The requests of the API as values, without sending them: both clients share these, and a test holds them to the schema."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Kind = Literal["impression", "click", "dwell", "scroll", "thumbs", "rating", "nps", "comment"]
MAX_EVENTS = 10_000
MAX_BATCH = 1_000


@dataclass(frozen=True)
class Event:
    """One feedback event about an inquiry (its id, or your external_id).

    `value`: seconds (dwell), share 0–1 (scroll), "up" or "down" (thumbs), points (rating, nps); a comment has a `text`.
    An `event_id` is made where none is given, so that a repeated event is stored once.
    """

    inquiry: str
    type: Kind
    value: float | str | None = None
    text: str | None = None
    event_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    customer: str | None = None
    occurred_at: datetime | None = None

    def body(self) -> dict[str, Any]:
        when = self.occurred_at
        if when is not None and when.tzinfo is None:
            raise ValueError("occurred_at needs a time zone, such as datetime.now(UTC)")
        given = {**vars(self), "occurred_at": when and when.astimezone(UTC).isoformat()}
        return without_none(given)


@dataclass(frozen=True)
class Call:
    """One request. `repeatable`: sending it twice does what sending it once does."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True


def without_none(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def inquire(
    text: str,
    *,
    external_id: str | None = None,
    locale: str | None = None,
    customer: str | None = None,
    channel: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    idempotency_key: str | None = None,
) -> Call:
    fields = without_none(
        {"text": text, "external_id": external_id, "locale": locale, "customer": customer, "channel": channel,
         "metadata": metadata, "dry_run": dry_run or None}
    )  # fmt: skip
    # An external_id makes the request repeatable by itself.
    key = idempotency_key or (None if external_id or dry_run else uuid.uuid4().hex)
    return Call("POST", "inquiries", fields, {"Idempotency-Key": key} if key else {})


def inquiry(inquiry_id: str) -> Call:
    return Call("GET", f"inquiries/{uuid.UUID(inquiry_id)}")


def escalate(inquiry_id: str, *, reason: str = "") -> Call:
    return Call("POST", f"inquiries/{uuid.UUID(inquiry_id)}/escalate", {"reason": reason}, repeatable=False)


def predict(text: str, *, locale: str | None = None) -> Call:
    return Call("POST", "predict", without_none({"text": text, "locale": locale}))


def predict_many(texts: Sequence[str], *, locale: str | None = None) -> list[Call]:
    """As many requests as it takes, in the order of the texts."""
    bodies = [without_none({"text": t, "locale": locale}) for t in texts]
    return [
        Call("POST", "predict/batch", {"inquiries": bodies[at : at + MAX_BATCH]})
        for at in range(0, len(bodies), MAX_BATCH)
    ]


def feedback(event: Event) -> Call:
    return Call("POST", "feedback", event.body())


def feedback_many(events: Iterable[Event]) -> list[Call]:
    """As many requests as it takes, in the order of the events."""
    bodies = [e.body() for e in events]
    return [Call("POST", "feedback", bodies[at : at + MAX_EVENTS]) for at in range(0, len(bodies), MAX_EVENTS)]


def agreement() -> Call:
    return Call("GET", "agreement")


def models() -> Call:
    return Call("GET", "models")


def promote(number: int) -> Call:
    return Call("POST", f"models/{int(number)}/promote")


def rollback(number: int) -> Call:
    """Each rollback goes one version further back, so it is not repeated by itself."""
    return Call("POST", f"models/{int(number)}/rollback", repeatable=False)


def jobs() -> Call:
    return Call("GET", "jobs")


def cancel_job(job_id: int) -> Call:
    return Call("POST", f"jobs/{int(job_id)}/cancel", repeatable=False)
