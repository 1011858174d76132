from __future__ import annotations

import threading
from collections import Counter, defaultdict
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from feedback import outbox
from feedback.models import Delivery, OutboxEvent, OutboxState


@pytest.fixture
def consumed(monkeypatch):
    """What a consumer of `test.event` has seen, by payload number."""
    seen: Counter[int] = Counter()
    monkeypatch.setattr(outbox, "_consumers", defaultdict(dict))

    @outbox.consumer("test.event", name="tests.count")
    def count(event):
        seen[event.payload["n"]] += 1

    return seen


def publish(n: int) -> OutboxEvent:
    return outbox.publish(kind="test.event", project_id=None, payload={"n": n})


@pytest.mark.django_db
def test_an_event_of_a_transaction_that_was_rolled_back_never_happened(consumed):
    with transaction.atomic():
        publish(1)
        transaction.set_rollback(True)
    assert outbox.relay() == 0
    assert not consumed


@pytest.mark.django_db
def test_each_event_reaches_each_consumer_once(consumed):
    for n in range(5):
        publish(n)
    assert outbox.relay() == 5
    assert outbox.relay() == 0
    assert consumed == dict.fromkeys(range(5), 1)


@pytest.mark.django_db
def test_a_consumer_that_fails_is_tried_again_later_and_the_others_are_not(consumed):
    calls = []

    @outbox.consumer("test.event", name="tests.broken")
    def broken(event):
        calls.append(event.pk)
        raise ValueError("not today")

    event = publish(1)
    outbox.relay()
    event.refresh_from_db()
    assert event.state == OutboxState.PENDING
    assert "not today" in event.error
    assert event.available_at > timezone.now()
    OutboxEvent.objects.update(available_at=timezone.now() - timedelta(seconds=1))
    outbox.relay()
    assert len(calls) == 2
    assert consumed == {1: 1}


@pytest.mark.django_db
def test_an_event_that_always_fails_is_dead_with_its_reason(consumed, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_ATTEMPTS", 1)

    @outbox.consumer("test.event", name="tests.broken")
    def broken(event):
        raise ValueError("never")

    event = publish(1)
    outbox.relay()
    event.refresh_from_db()
    assert event.state == OutboxState.DEAD
    assert event.error == "tests.broken: never"


@pytest.mark.django_db
def test_what_a_failing_consumer_wrote_is_rolled_back_with_its_delivery(consumed):
    @outbox.consumer("test.event", name="tests.half")
    def half(event):
        OutboxEvent.objects.create(kind="other", available_at=timezone.now())
        raise ValueError

    publish(1)
    outbox.relay(limit=1)
    assert not OutboxEvent.objects.filter(kind="other").exists()
    assert not Delivery.objects.filter(consumer="tests.half").exists()


@pytest.mark.django_db(transaction=True)
def test_relays_that_run_at_once_share_the_events_without_repeating_one(consumed):
    for n in range(60):
        publish(n)

    def drain():
        try:
            outbox.relay()
        finally:
            connection.close()

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    outbox.relay()
    assert consumed == dict.fromkeys(range(60), 1)
