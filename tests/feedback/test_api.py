from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from feedback import api, outbox
from feedback.keys import create_key
from feedback.models import ApiKey, ClientApp, Event, InquiryScore, Project
from feedback.services import NewInquiry, fold_scores, record_inquiry, touch_project
from tests.conftest import make_key

pytestmark = pytest.mark.django_db


def scored(**which):
    """The score of an inquiry, with all that was stored folded in."""
    for project in Project.objects.all():
        assert fold_scores(project_id=project.pk)
    return InquiryScore.objects.get(**which)


@pytest.fixture
def inquiry(project):
    new = NewInquiry(text="Where is my parcel?", request_sha=b"0" * 32, external_id="order-7")
    return record_inquiry(
        project_id=project.pk, app_id=None, new=new, status="waiting", category_id=None, reply_id=None
    )


def test_an_event_is_stored_with_its_score(post, inquiry):
    answer = post("feedback", {"inquiry": str(inquiry.pk), "type": "click"})
    assert answer.status_code == 201
    assert scored().implicit == pytest.approx(0.4)


def test_events_may_name_the_inquiry_by_the_apps_own_id(post, inquiry):
    post("feedback", {"inquiry": "order-7", "type": "rating", "value": 5})
    assert scored(inquiry=inquiry).explicit == pytest.approx(1.0)


def test_an_event_that_comes_before_its_inquiry_is_joined_later(post, project):
    post("feedback", {"inquiry": "order-8", "type": "click"})
    assert Event.objects.get().inquiry is None
    new = NewInquiry(text="Hello?", request_sha=b"0" * 32, external_id="order-8")
    late = record_inquiry(
        project_id=project.pk, app_id=None, new=new, status="waiting", category_id=None, reply_id=None
    )
    assert Event.objects.get().inquiry == late
    assert scored(inquiry=late).events == 1


def test_the_same_event_twice_is_one(post, inquiry):
    event = {"inquiry": str(inquiry.pk), "type": "dwell", "value": 3, "event_id": "e1"}
    first, second = post("feedback", event), post("feedback", event)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json()["id"] == first.json()["id"]
    assert Event.objects.count() == 1


def test_the_same_id_with_another_body_is_a_conflict(post, inquiry):
    event = {"inquiry": str(inquiry.pk), "type": "dwell", "value": 3, "event_id": "e1"}
    post("feedback", event)
    answer = post("feedback", event | {"value": 4})
    assert answer.status_code == 409
    assert answer.json()["field"] == "event_id"
    assert Event.objects.get().value == 3


def test_an_array_is_answered_event_by_event(post, inquiry):
    event = {"inquiry": str(inquiry.pk), "type": "click", "event_id": "e1"}
    answer = post("feedback", [event, event, event | {"type": "impression"}, {"inquiry": "order-7", "type": "click"}])
    assert [r["result"] for r in answer.json()["results"]] == ["stored", "duplicate", "conflict", "stored"]


def test_a_comment_waits_for_its_sentiment_through_the_outbox(post, inquiry, monkeypatch):
    post("feedback", {"inquiry": str(inquiry.pk), "type": "comment", "text": "Quite good."})
    event = Event.objects.get()
    assert event.sentiment is None
    assert outbox.OutboxEvent.objects.get(kind="comment.received").payload == {"events": [str(event.pk)]}


def test_a_clock_that_runs_ahead_is_put_back_to_the_arrival(post, inquiry):
    ahead = (timezone.now() + timedelta(days=2)).isoformat()
    post("feedback", {"inquiry": str(inquiry.pk), "type": "click", "occurred_at": ahead})
    assert Event.objects.get().occurred_at <= timezone.now()


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b"\xff\xfe", 400, None),
        ({"type": "click"}, 422, "inquiry"),
        ({"inquiry": "x", "type": "clack"}, 422, "type"),
        ({"inquiry": "x", "type": "click", "colour": 1}, 422, "colour"),
        ({"inquiry": 5, "type": "click"}, 422, "inquiry"),
        ({"inquiry": "", "type": "click"}, 422, "inquiry"),
        ({"inquiry": "x", "type": "click", "value": 1}, 422, "value"),
        ({"inquiry": "x", "type": "scroll", "value": 1.5}, 422, "value"),
        ({"inquiry": "x", "type": "rating"}, 422, "value"),
        ({"inquiry": "x", "type": "rating", "value": 6}, 422, "value"),
        ({"inquiry": "x", "type": "thumbs", "value": "sideways"}, 422, "value"),
        ({"inquiry": "x", "type": "nps", "value": -1}, 422, "value"),
        ({"inquiry": "x", "type": "comment"}, 422, "text"),
        ({"inquiry": "x", "type": "comment", "text": "a\x00b"}, 422, "text"),
        ({"inquiry": "x", "type": "click", "occurred_at": "2026-01-01T00:00:00"}, 422, "occurred_at"),
        ([{"inquiry": "x", "type": "click"}, {"inquiry": "x", "type": "rating", "value": 9}], 422, "[1].value"),
    ],
)
def test_bad_input_is_refused_naming_the_field_and_changes_nothing(post, body, status, field):
    answer = post("feedback", body)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json().get("field") == field
    assert answer.json()["request_id"]
    assert not Event.objects.exists()


def test_without_a_key_nothing_is_said_about_the_project(client):
    answer = client.post("/api/v1/feedback", "{}", content_type="application/json")
    assert answer.status_code == 401
    assert answer.json()["type"].endswith("not-authenticated")


def test_a_key_without_the_scope_is_refused(post, project):
    answer = post("feedback", {"inquiry": "x", "type": "click"}, secret=make_key(project, "inquiries:read"))
    assert answer.status_code == 403
    assert "feedback:write" in answer.json()["detail"]


@pytest.mark.parametrize(
    "state", [{"revoked_at": timezone.now()}, {"expires_at": timezone.now() - timedelta(seconds=1)}]
)
def test_a_revoked_or_expired_key_is_refused(post, project, key, state):
    ApiKey.objects.update(**state)
    assert post("feedback", {"inquiry": "x", "type": "click"}).status_code == 401


def test_only_the_hash_of_a_key_is_stored(project):
    row, secret = create_key(app=ClientApp.objects.get(project=project), scopes=["feedback:write"])
    stored = json.dumps(list(ApiKey.objects.values()), default=str)
    assert secret not in stored
    assert secret.startswith(row.prefix)


def test_an_event_for_an_inquiry_of_another_project_is_not_joined_to_it(post, inquiry, other_project):
    post("feedback", {"inquiry": str(inquiry.pk), "type": "click"}, secret=make_key(other_project))
    event = Event.objects.get()
    assert event.project == other_project
    assert event.inquiry is None


def test_the_wrong_method_is_said_as_a_problem(client, key):
    answer = client.get("/api/v1/feedback", headers={"Authorization": f"Api-Key {key}"})
    assert answer.status_code == 405


def test_a_callers_request_id_comes_back(post, inquiry):
    answer = post("feedback", {"inquiry": "order-7", "type": "click"}, X_Request_Id="abc-123")
    assert answer["X-Request-Id"] == "abc-123"


def lines(*rows) -> bytes:
    return b"\n".join(r if isinstance(r, bytes) else json.dumps(r).encode() for r in rows)


@pytest.fixture
def stream(client, key):
    def send(body: bytes):
        headers = {"Authorization": f"Api-Key {key}"}
        return client.post("/api/v1/feedback", body, content_type="application/x-ndjson", headers=headers)

    return send


def test_each_line_of_a_stream_is_answered_on_its_own(stream, inquiry):
    event = {"inquiry": "order-7", "type": "click", "event_id": "e1"}
    answer = stream(
        lines(
            event,
            b"",
            event,
            event | {"customer": "c"},
            b"{",
            {"inquiry": "x", "type": "rating", "value": 9},
            event | {"event_id": "e2"},
        )
    )
    results = answer.json()["results"]
    assert answer.status_code == 201
    assert [(r["line"], r["result"]) for r in results] == [
        (1, "stored"), (3, "duplicate"), (4, "conflict"), (5, "invalid"), (6, "invalid"), (7, "stored"),
    ]  # fmt: skip
    assert results[4]["error"]["field"] == "value"
    assert results[4]["error"]["type"] == "urn:enso:problem:invalid-field"
    assert answer.json()["counts"] == {"stored": 2, "duplicate": 1, "conflict": 1, "invalid": 2}
    assert Event.objects.count() == 2


def test_a_stream_of_ten_thousand_lines_is_stored_and_one_line_more_refused(stream, inquiry):
    rows = [{"inquiry": "order-7", "type": "impression", "event_id": str(i)} for i in range(10_001)]
    assert stream(lines(*rows)).status_code == 413
    assert not Event.objects.exists()
    assert stream(lines(*rows[1:])).json()["counts"] == {"stored": 10_000}


def test_an_empty_stream_is_no_event(stream):
    assert stream(b"\n\n").json() == {"results": [], "counts": {}}


@pytest.mark.parametrize("field", ["inquiry", "event_id", "customer"])
def test_a_reference_with_control_characters_is_refused(post, field):
    answer = post("feedback", {"inquiry": "x", "type": "click"} | {field: "a\x00b"})
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_time_outside_the_calendar_is_refused(post):
    answer = post("feedback", {"inquiry": "x", "type": "click", "occurred_at": "0001-01-01T00:00:00+14:00"})
    assert (answer.status_code, answer.json()["field"]) == (422, "occurred_at")


def test_a_projects_own_range_of_ratings_holds_at_once_after_a_change(post, project):
    rating = {"inquiry": "x", "type": "rating", "value": 9}
    assert post("feedback", rating).status_code == 422
    Project.objects.filter(pk=project.pk).update(rating_max=10)
    touch_project(project_id=project.pk)
    assert post("feedback", rating).status_code == 201


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b'{"a": 1}\n{"a": 2}', 2), (b'{"a": 1}\n{"a": 2}\n', 2), (b"{}", 1), (b"{}{}\n{}", 2), (b'{"a":\n{}}', 0),
        (b"{}\n\n{}", 0), (b"{} \n{}", 0), (b"{}\r\n{}", 0), (b" {}", 0), (b"", 0), (b"{}\n5", 0), (b"{}\n{}\n\n", 0), (b"{}\n{", 0),
    ],
)  # fmt: skip
def test_lines_are_counted_at_once_only_where_each_looks_like_an_object(body, lines):
    assert api._one_on_each(body) == lines


def test_two_events_on_one_line_are_no_line(stream, inquiry):
    event = b'{"inquiry": "order-7", "type": "click"}'
    answer = stream(event + event + b"\n" + event)
    assert [r["result"] for r in answer.json()["results"]] == ["invalid", "stored"]
    assert Event.objects.count() == 1
