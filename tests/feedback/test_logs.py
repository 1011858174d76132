from __future__ import annotations

import doctest
import json
import logging
from collections import defaultdict

import pytest
from django.db import IntegrityError, connection, transaction

from feedback import jobs, logs, notices, outbox, webhooks
from feedback.models import Inquiry, Notice, OutboxEvent, Webhook
from tests.browser.scene import inquire


def test_the_worked_example_holds():
    assert doctest.testmod(logs).failed == 0


def line(**given):
    record = logging.LogRecord(
        "enso", logging.ERROR, "x.py", 1, given.pop("msg", "failed"), (), given.pop("exc_info", None)
    )
    return logs.MaskedFormatter("%(asctime)s %(message)s").format(record)


def test_a_message_is_masked_and_times_and_ids_stay():
    assert "jo@example.com" not in line(msg="no mail to jo@example.com")
    kept = "request 01a2156d-3614-7a78-9cef-bf88a07d7b50 of project 3 took 120 ms"
    assert kept in line(msg=kept)


@pytest.mark.django_db
def test_a_row_that_the_database_refused_is_not_quoted(project):
    row = inquire(project, "These are the words of a customer")
    with pytest.raises(IntegrityError) as refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE feedback_inquiry SET status = NULL WHERE id = %s", [row.pk])
    assert "words of a customer" in str(refused.value)
    written = line(exc_info=(type(refused.value), refused.value, refused.value.__traceback__))
    assert "words of a customer" not in written
    assert "null value in column" in written
    assert Inquiry.objects.exists()


def as_json(**given):
    record = logging.LogRecord("enso.x", logging.ERROR, "x.py", 1, given.pop("msg"), (), given.pop("exc_info", None))
    return json.loads(logs.json_formatter().format(record))


def test_a_line_is_json_with_level_logger_time_and_the_request_it_belongs_to():
    with logs.request("r-17", job=4):
        said = as_json(msg="no mail to jo@example.com")
    assert said.pop("timestamp").endswith("Z")
    assert said == {
        "event": "no mail to [email]", "level": "error", "logger": "enso.x", "request_id": "r-17", "job": 4,
    }  # fmt: skip
    assert "request_id" not in as_json(msg="nobody asked")


def test_a_traceback_in_json_is_masked_too():
    try:
        raise ValueError("bad address jo@example.com")
    except ValueError as error:
        said = as_json(msg="failed", exc_info=(type(error), error, error.__traceback__))
    assert "ValueError" in said["exception"]
    assert "jo@example.com" not in json.dumps(said)


@pytest.mark.django_db
def test_one_request_id_goes_from_the_request_through_outbox_and_job_to_the_webhook(project, key, client, monkeypatch):
    """A real request resolves an inquiry; what follows it runs later, elsewhere, and still names it."""
    Webhook.objects.create(project=project, url="https://hooks.example/x", kinds=["inquiry.resolved"], secret=b"x")
    row, seen = inquire(project, "Where is it?"), []
    with logs.request("req-42"):
        outbox.publish(kind="inquiry.resolved", project_id=project.pk, payload={"inquiry": str(row.pk)})
    known = {kind: dict(listeners) for kind, listeners in outbox._consumers.items()}
    monkeypatch.setattr(outbox, "_consumers", defaultdict(dict, known))
    outbox.consumer("inquiry.resolved", name="x")(lambda e: seen.append(jobs.enqueue(kind="x", project_id=project.pk)))
    monkeypatch.setitem(jobs._kinds, "x", jobs.Kind(lambda running: {"id": logs.current_request()}, "io"))
    assert logs.current_request() == ""
    while outbox.relay():
        pass
    jobs.run(seen[0].pk)
    seen[0].refresh_from_db()
    notice = Notice.objects.get()
    sent = {}
    monkeypatch.setattr(notices.webhooks, "secrets_of", lambda w: [webhooks._new_secret()])
    monkeypatch.setattr(notices.outbound, "post", lambda url, body, headers, **k: sent.update(headers) or 200)
    notices.attempt(notice)
    assert OutboxEvent.objects.filter(kind="inquiry.resolved").get().request_id == "req-42"
    assert (seen[0].result, sent["X-Request-Id"]) == ({"id": "req-42"}, "req-42")


@pytest.mark.django_db
def test_a_request_that_names_itself_is_known_by_that_name(client, project, key, monkeypatch):
    seen = []
    monkeypatch.setattr("serving.services.predict", lambda **k: seen.append(logs.current_request()) or [{}])
    headers = {"Authorization": f"Api-Key {key}", "X-Request-Id": "abc-1"}
    answer = client.post("/api/v1/predict", {"text": "Hello"}, content_type="application/json", headers=headers)
    assert (answer["X-Request-Id"], seen) == ("abc-1", ["abc-1"])
    assert logs.current_request() == ""
