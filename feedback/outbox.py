"""The outbox: what must follow a commit is a row of the same transaction.

`publish` writes the row; `on_commit` only nudges the relay. The relay claims pending rows by state with SKIP LOCKED and
hands each to every consumer of its kind; a consumer's work and the mark that it has the event are one transaction, so a
consumer sees an event once, however often the relay is killed. The mark is the event's own state, and a `Delivery` row only
where another consumer failed. Consumers must be short (they enqueue jobs); a consumer that fails is tried again with
growing delay, and after `MAX_ATTEMPTS` the event is dead with its reason. Where all consumers of a kind take several events
at once, so does the relay: of the most frequent kind, which often nobody waits for, an event then costs a share of three
statements.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from feedback import logs
from feedback.models import Delivery, OutboxEvent, OutboxState

log = logging.getLogger(__name__)
Consumer = Callable[[OutboxEvent], None]
GroupConsumer = Callable[[Sequence[OutboxEvent]], None]
MAX_ATTEMPTS = 12
BATCH, GROUP = 200, 100
NUDGE_SECONDS = 0.2


@dataclass(frozen=True)
class _Listener:
    """A consumer; `takes_groups` says that it may be given events of many requests at once."""

    take: GroupConsumer
    takes_groups: bool


_consumers: dict[str, dict[str, _Listener]] = defaultdict(dict)
_last_nudge = [0.0]
_nudge_lock = threading.Lock()


def consumer(kind: str, *, name: str) -> Callable[[Consumer], Consumer]:
    """Register a consumer of one kind of event; `name` identifies it in the deliveries for ever."""

    def register(function: Consumer) -> Consumer:
        def take(events: Sequence[OutboxEvent]) -> None:
            for event in events:
                function(event)

        _consumers[kind][name] = _Listener(take, takes_groups=False)
        return function

    return register


def group_consumer(kind: str, *, name: str) -> Callable[[GroupConsumer], GroupConsumer]:
    """Register a consumer that takes up to `GROUP` events of a kind at once; where that fails, each alone."""

    def register(function: GroupConsumer) -> GroupConsumer:
        _consumers[kind][name] = _Listener(function, takes_groups=True)
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


def publish_all(*, kind: str, project_id: int | None, payloads: Sequence[dict[str, Any]]) -> None:
    """Many events of a kind at once, each as `publish` writes it."""
    if not payloads:
        return
    now, request_id = timezone.now(), logs.current_request()
    OutboxEvent.objects.bulk_create(
        OutboxEvent(kind=kind, project_id=project_id, payload=p, available_at=now, request_id=request_id)
        for p in payloads
    )
    transaction.on_commit(nudge)


def publish_from(query: str) -> str:
    """SQL that writes an event for each (kind, project_id, payload) that `query` yields. Whoever runs it calls `nudge`."""
    return f"""
        INSERT INTO feedback_outboxevent (kind, project_id, payload, state, attempts, available_at, created_at, error)
        SELECT kind, project_id, payload, 'pending', 0, now(), now(), '' FROM ({query}) AS q(kind, project_id, payload)"""


def nudge() -> None:
    """Wake the relay, at most every `NUDGE_SECONDS` per process; a lost nudge costs one beat, never an event.

    Whoever does wake it waits for the broker: never call this while others wait for the caller.
    """
    if _nudged_just_now():
        return
    with _nudge_lock:
        if _nudged_just_now():
            return
        _last_nudge[0] = time.monotonic()
    from feedback.tasks import relay_outbox, send_quietly

    send_quietly(relay_outbox)


def _nudged_just_now() -> bool:
    return time.monotonic() - _last_nudge[0] < NUDGE_SECONDS


def relay(limit: int = BATCH) -> int:
    """Handle up to `limit` pending events, group by group in a transaction each; returns how many were handled."""
    handled = 0
    while handled < limit and (count := _relay_some(min(GROUP, limit - handled))):
        handled += count
    return handled


def _relay_some(most: int) -> int:
    """Handle the event that has waited longest, and others of its kind with it where all of its consumers take groups."""
    with transaction.atomic():
        event = _pending().first()
        if event is None:
            return 0
        events, listeners = [event], _consumers[event.kind]
        if most > 1 and all(one.takes_groups for one in listeners.values()):
            events += _pending().filter(kind=event.kind).exclude(pk=event.pk)[: most - 1]
        with logs.request(event.request_id if len(events) == 1 else ""):
            failures = {name: _deliver(events, name, one) for name, one in listeners.items()}
        _settle(events, failures)
    return len(events)


def _pending() -> QuerySet[OutboxEvent]:
    waiting = OutboxEvent.objects.filter(state=OutboxState.PENDING, available_at__lte=timezone.now())
    return waiting.select_for_update(skip_locked=True).order_by("available_at", "id")


Failures = dict[int, str]  # by event


def _deliver(events: list[OutboxEvent], name: str, listener: _Listener) -> Failures:
    """Give a consumer those of the events that it does not have, behind a savepoint."""
    # An event that was never tried was never delivered. A dead one that somebody sets back keeps its error.
    tried = [e.pk for e in events if e.attempts or e.error]
    given = (
        set(Delivery.objects.filter(consumer=name, event__in=tried).values_list("event_id", flat=True))
        if tried
        else set()
    )
    fresh = [e for e in events if e.pk not in given]
    try:
        if fresh:
            with transaction.atomic():
                listener.take(fresh)
    except Exception as error:
        if len(fresh) > 1:
            return {pk: why for e in fresh for pk, why in _deliver([e], name, listener).items()}
        log.exception("consumer %s failed on event %s", name, fresh[0].pk)
        return {fresh[0].pk: f"{name}: {error}"}
    return {}


def _settle(events: list[OutboxEvent], failures: dict[str, Failures]) -> None:
    """Done where every consumer has it; else the others are remembered, and those that failed are asked again later."""
    failed = {pk for of_one in failures.values() for pk in of_one}
    if done := [e.pk for e in events if e.pk not in failed]:
        OutboxEvent.objects.filter(pk__in=done).update(state=OutboxState.DONE, attempts=F("attempts") + 1)
    for event in (e for e in events if e.pk in failed):
        _postpone(event, [of_one[event.pk] for of_one in failures.values() if event.pk in of_one])
        have = [Delivery(consumer=name, event=event) for name, of_one in failures.items() if event.pk not in of_one]
        Delivery.objects.bulk_create(have, ignore_conflicts=True)


def _postpone(event: OutboxEvent, reasons: list[str]) -> None:
    event.attempts += 1
    event.error = "; ".join(reasons)[:4000]
    if event.attempts >= MAX_ATTEMPTS:
        event.state = OutboxState.DEAD
    else:
        event.available_at = timezone.now() + timedelta(seconds=min(2**event.attempts, 3600))
    event.save(update_fields=["state", "attempts", "error", "available_at"])
