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
def test_a_dead_event_that_is_set_back_by_hand_reaches_only_those_who_do_not_have_it(consumed, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_ATTEMPTS", 1)
    calls = []

    @outbox.consumer("test.event", name="tests.broken")
    def broken(event):
        calls.append(event.pk)
        if len(calls) == 1:
            raise ValueError("not yet mended")

    publish(1)
    outbox.relay()
    OutboxEvent.objects.filter(state=OutboxState.DEAD).update(state=OutboxState.PENDING, attempts=0)
    assert outbox.relay() == 1
    assert len(calls) == 2
    assert consumed == {1: 1}
    assert OutboxEvent.objects.get().state == OutboxState.DONE


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


@pytest.fixture
def grouped(monkeypatch):
    """The groups that a consumer of `test.event` was given, as payload numbers; it refuses any group with a 3 in it."""
    groups: list[list[int]] = []
    monkeypatch.setattr(outbox, "_consumers", defaultdict(dict))

    @outbox.group_consumer("test.event", name="tests.groups")
    def take(events):
        numbers = [e.payload["n"] for e in events]
        if 3 in numbers:
            OutboxEvent.objects.create(kind="other", available_at=timezone.now() + timedelta(days=1))
            raise ValueError("no threes")
        groups.append(numbers)

    return groups


@pytest.mark.django_db
def test_a_consumer_of_groups_gets_what_waits_at_once(grouped, monkeypatch):
    monkeypatch.setattr(outbox, "GROUP", 4)
    for n in (10, 11, 12, 13, 14, 15):
        publish(n)
    assert outbox.relay() == 6
    assert grouped == [[10, 11, 12, 13], [14, 15]]


@pytest.mark.django_db
def test_of_a_group_only_the_event_that_fails_is_tried_again(grouped):
    events = [publish(n) for n in (1, 2, 3, 4)]
    assert outbox.relay() == 4
    assert grouped == [[1], [2], [4]]
    assert not OutboxEvent.objects.filter(kind="other").exists()  # what the failing consumer wrote
    states = dict(OutboxEvent.objects.values_list("payload__n", "state"))
    assert states == {1: "done", 2: "done", 3: "pending", 4: "done"}
    events[2].refresh_from_db()
    assert events[2].error == "tests.groups: no threes"


@pytest.mark.django_db
def test_a_kind_with_one_consumer_of_single_events_is_given_them_one_by_one(grouped):
    calls = []
    outbox.consumer("test.event", name="tests.single")(lambda event: calls.append(event.payload["n"]))
    for n in (1, 2):
        publish(n)
    assert outbox.relay() == 2
    assert grouped == [[1], [2]]
    assert calls == [1, 2]


@pytest.mark.django_db
def test_events_of_different_kinds_are_not_mixed(grouped):
    publish(1)
    outbox.publish(kind="nobody.listens", project_id=None, payload={})
    publish(2)
    assert outbox.relay() == 3
    assert grouped == [[1, 2]]
    assert not OutboxEvent.objects.exclude(state=OutboxState.DONE).exists()


@pytest.mark.django_db
def test_a_hundred_events_that_nobody_waits_for_cost_a_handful_of_statements(consumed, django_assert_max_num_queries):
    for _ in range(100):
        outbox.publish(kind="nobody.listens", project_id=None, payload={})
    with django_assert_max_num_queries(8):
        assert outbox.relay(limit=100) == 100
