"""The outbox: what must follow a commit is a row of the same transaction.

`publish` writes the row; `on_commit` only nudges the relay. The relay claims pending rows by state with SKIP LOCKED and
hands each to every consumer of its kind; a consumer's work and its `Delivery` row are one transaction, so a consumer
sees an event once, however often the relay is killed. Consumers must be short (they enqueue jobs); a consumer that
fails is tried again with growing delay, and after `MAX_ATTEMPTS` the event is dead with its reason.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from feedback import logs
from feedback.models import Delivery, OutboxEvent, OutboxState

log = logging.getLogger(__name__)
Consumer = Callable[[OutboxEvent], None]
MAX_ATTEMPTS = 12
BATCH = 200
NUDGE_SECONDS = 0.2

_consumers: dict[str, dict[str, Consumer]] = defaultdict(dict)
_last_nudge = [0.0]
_nudge_lock = threading.Lock()


def consumer(kind: str, *, name: str) -> Callable[[Consumer], Consumer]:
    """Register a consumer of one kind of event; `name` identifies it in the deliveries for ever."""

    def register(function: Consumer) -> Consumer:
        _consumers[kind][name] = function
        return function

    return register


def publish(*, kind: str, project_id: int | None, payload: dict[str, Any]) -> OutboxEvent:
    """Write an event into the current transaction. Payloads hold ids and plain values, never customers' texts."""
    event = OutboxEvent.objects.create(
        kind=kind,
        project_id=project_id,
        payload=payload,
        available_at=timezone.now(),
        request_id=logs.current_request(),
    )
    transaction.on_commit(nudge)
    return event


def publish_from(query: str) -> str:
    """SQL that writes an event for each (kind, project_id, payload) that `query` yields. Whoever runs it calls `nudge`."""
    return f"""
        INSERT INTO feedback_outboxevent (kind, project_id, payload, state, attempts, available_at, created_at, error)
        SELECT kind, project_id, payload, 'pending', 0, now(), now(), '' FROM ({query}) AS q(kind, project_id, payload)"""


def nudge() -> None:
    """Wake the relay, at most every `NUDGE_SECONDS` per process; a lost nudge costs one beat, never an event."""
    from feedback.tasks import relay_outbox, send_quietly

    with _nudge_lock:
        if time.monotonic() - _last_nudge[0] < NUDGE_SECONDS:
            return
        _last_nudge[0] = time.monotonic()
    send_quietly(relay_outbox)


def relay(limit: int = BATCH) -> int:
    """Handle up to `limit` pending events, each in its own transaction; returns how many were handled."""
    handled = 0
    while handled < limit and _relay_one():
        handled += 1
    return handled


def _relay_one() -> bool:
    with transaction.atomic():
        event = (
            OutboxEvent.objects.select_for_update(skip_locked=True)
            .filter(state=OutboxState.PENDING, available_at__lte=timezone.now())
            .order_by("available_at", "id")
            .first()
        )
        if event is None:
            return False
        with logs.request(event.request_id):
            failures = [
                f for name, function in _consumers[event.kind].items() if (f := _deliver(event, name, function))
            ]
        _settle(event, failures)
    return True


def _deliver(event: OutboxEvent, name: str, function: Consumer) -> str | None:
    """Run one consumer behind a savepoint; its error as text, or None."""
    try:
        with transaction.atomic():
            _, first = Delivery.objects.get_or_create(consumer=name, event=event)
            if first:
                function(event)
    except Exception as error:
        log.exception("consumer %s failed on event %s", name, event.pk)
        return f"{name}: {error}"
    return None


def _settle(event: OutboxEvent, failures: list[str]) -> None:
    event.attempts += 1
    if not failures:
        event.state = OutboxState.DONE
    elif event.attempts >= MAX_ATTEMPTS:
        event.state, event.error = OutboxState.DEAD, "; ".join(failures)[:4000]
    else:
        event.error = "; ".join(failures)[:4000]
        event.available_at = timezone.now() + timedelta(seconds=min(2**event.attempts, 3600))
    event.save(update_fields=["state", "attempts", "error", "available_at"])
