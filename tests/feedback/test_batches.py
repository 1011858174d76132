"""A batch that is new goes by COPY, any other by the statement: what is stored and answered is the same."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from feedback import batches, ingest, outbox, vault
from feedback.event_shape import EventIn, checked
from feedback.incoming import COMMENTS_AT_ONCE
from feedback.models import Event, Original, OutboxEvent, Unscored
from feedback.rules import Rules
from feedback.services import NewInquiry, create_project, record_feedback, record_inquiry
from tests.conftest import CATEGORIES

pytestmark = pytest.mark.django_db(transaction=True)
AT = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
FAR_AHEAD = timezone.now() + timedelta(days=1)
LOOKS_LIKE_AN_ID = "0198c0de-0000-7000-8000-000000000001"


def event(number: int, **given) -> ingest.NewEvent:
    weight = given.pop("weight", 1.0)
    sent = {"inquiry": "order-1", "type": "click", "event_id": f"e{number}", "occurred_at": AT} | given
    return checked(EventIn(**sent), Rules(1, 5), weight=weight)


def inquire(project, name: str | None) -> uuid.UUID:
    new = NewInquiry(text="Where is it?", request_sha=b"0" * 32, external_id=name)
    return record_inquiry(
        project_id=project.pk, app_id=None, new=new, status="waiting", category_id=None, reply_id=None, model="v1"
    ).pk  # fmt: skip


def of_all_sorts(by_id: uuid.UUID) -> list[ingest.NewEvent]:
    odd = [
        event(0, type="dwell", value=1.5, weight=0.2), event(1, inquiry=str(by_id).upper()), event(2, inquiry=LOOKS_LIKE_AN_ID),
        event(3, inquiry="comes-later"), event(4, occurred_at=None), event(5, occurred_at=FAR_AHEAD),
        event(6, type="comment", text="Call 090-1234-5678, card 4111 1111 1111 1111\tüber\\ {x}"),
        event(7, type="comment", text="Thanks."), event(8, event_id=None), event(9, event_id=None, customer="高橋"),
        event(10, event_id="\\N", customer="\\."), event(11, inquiry=str(uuid.UUID(int=5))), event(12, type="thumbs", value="up"),
    ]  # fmt: skip
    return odd + [event(n, customer=f"c{n}") for n in range(20, 20 + ingest.COPY_FROM)]


def stored(project) -> list[tuple]:
    columns = (
        "event_id",
        "app_id",
        "request_sha",
        "inquiry_ref",
        "inquiry__external_id",
        "kind",
        "value",
        "text",
        "customer",
        "weight",
    )
    rows = Event.objects.filter(project=project).values_list(*columns, "occurred_at", "received_at")
    return sorted(
        [
            (*(bytes(v) if isinstance(v, memoryview) else v for v in row), at if at != received else "arrival")
            for *row, at, received in rows
        ],
        key=repr,
    )


def followed(project) -> tuple[int, list[tuple[str, str]], int]:
    """How many events wait for their scores, what was sealed, how many comments were published."""
    queued = sum(len(u.events) for u in Unscored.objects.filter(project=project))
    sealed = [
        (p.kind, p.original) for o in Original.objects.filter(project=project) for p in vault.unseal(bytes(o.sealed))
    ]
    told = OutboxEvent.objects.filter(project=project, kind="comment.received")
    return queued, sealed, sum(len(o.payload["events"]) for o in told)


def test_both_ways_store_the_same(project, monkeypatch):
    other = create_project(slug="twin", name="Twin", categories=CATEGORIES)
    for each, within in ((project, True), (other, False)):
        inquire(each, "order-1")
        inquire(each, LOOKS_LIKE_AN_ID)
        events = of_all_sorts(inquire(each, "by its id"))
        if within:
            with transaction.atomic():
                receipts = record_feedback(project_id=each.pk, app_id=None, events=events)
        else:
            monkeypatch.setattr(ingest, "_store", None)  # the statement is not needed
            receipts = record_feedback(project_id=each.pk, app_id=None, events=events)
        assert [r.result for r in receipts] == ["stored"] * len(events)
        assert {r.id for r in receipts} == set(Event.objects.filter(project=each).values_list("pk", flat=True))
    unlike = [(a, b) for a, b in zip(stored(project), stored(other), strict=True) if a != b and a[0] != "e1"]
    assert unlike == []  # e1 names its inquiry by an id of its own
    assert Event.objects.filter(event_id="e1", inquiry=None).count() == 0
    assert followed(project) == followed(other) == (len(events) - 2, [("phone", "090-1234-5678")], 2)


def test_what_is_known_is_told_apart_wherever_it_stands(project, monkeypatch):
    first = [event(n) for n in range(60)]
    ids = [r.id for r in record_feedback(project_id=project.pk, app_id=None, events=first)]
    again = record_feedback(project_id=project.pk, app_id=None, events=first)
    assert again == [batches.Receipt(pk, "duplicate") for pk in ids]
    # None of these is first, in the middle or last: the index alone finds them.
    mixed = [event(n) for n in range(100, 160)]
    mixed[7], mixed[8] = event(3), event(4, type="impression")
    results = [r.result for r in record_feedback(project_id=project.pk, app_id=None, events=mixed)]
    assert (results[7], results[8]) == ("duplicate", "conflict")
    assert results.count("stored") == 58
    assert Event.objects.count() == 60 + 58
    assert sum(len(u.events) for u in Unscored.objects.all()) == 0  # nobody stored that inquiry
    assert Event.objects.get(event_id="e4").kind == "click"


def test_an_event_id_twice_in_a_new_batch_is_stored_once(project):
    events = [event(n) for n in range(60)] + [event(3), event(4, type="impression")]
    results = [r.result for r in record_feedback(project_id=project.pk, app_id=None, events=events)]
    assert results == ["stored"] * 60 + ["duplicate", "conflict"]


def test_projects_do_not_share_their_event_ids(project):
    other = create_project(slug="1", name="Other", categories=CATEGORIES)
    for each in (project, other):
        events = [event(n) for n in range(60)]
        assert {r.result for r in record_feedback(project_id=each.pk, app_id=None, events=events)} == {"stored"}


def test_comments_are_published_some_at_a_time(project):
    count = max(2 * COMMENTS_AT_ONCE + 5, ingest.COPY_FROM)
    events = [event(n, type="comment", text="Thanks.") for n in range(count)]
    told: list[list[str]] = []
    receipts = record_feedback(project_id=project.pk, app_id=None, events=events)
    told += [o.payload["events"] for o in outbox.OutboxEvent.objects.filter(kind="comment.received")]
    assert max(map(len, told)) == COMMENTS_AT_ONCE
    assert sorted(pk for ids in told for pk in ids) == sorted(str(r.id) for r in receipts)
