"""The log of requests: a line per request, days that come and go, and no answer that waits for it."""

from __future__ import annotations

import doctest
from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection

from feedback import metric_files
from serving import request_log
from serving.models import RequestLog
from serving.request_log import LOST, days, keep, make_partitions, partition

TODAY = date(2026, 3, 31)


@pytest.fixture(autouse=True)
def _alone(settings, tmp_path):
    """Nothing waits from another test, and nothing is written but when a test says so."""
    settings.ENSO_METRICS_DIR = tmp_path
    metric_files.counts.clear()
    request_log._waiting.clear()
    request_log._writer[:] = [None]
    yield
    request_log._waiting.clear()
    request_log._writer.clear()


@pytest.fixture
def no_days(db):
    """No day's table is there: tests with a real web process leave theirs behind."""
    with connection.cursor() as cursor:
        for day in days():
            cursor.execute(f"DROP TABLE {partition(day)}")


def lost():
    return metric_files.counts.take().get((LOST.name, ()), [0.0])[0]


def line(at):
    return (at, "r", "predict", "POST", 200, 1.5, None, "", "", "")


def test_the_worked_example_holds():
    assert doctest.testmod(request_log).failed == 0


@pytest.mark.django_db
def test_an_api_request_leaves_a_line_with_what_answered_it_and_nothing_that_it_said(post, settings, project):
    settings.ENSO_REQUEST_LOG = True
    post("predict", {"text": "Where is my parcel?"}, X_Request_Id="req-1")
    post("inquiries", {}, X_Request_Id="req-2")
    post("nowhere", {})
    assert request_log.write() == 3
    first, second, third = RequestLog.objects.order_by("at")
    assert (first.request_id, first.endpoint, first.status, first.project_id) == ("req-1", "predict", 200, project.pk)
    assert (first.model, first.step, bool(first.decision), first.ms > 0) == ("category-texts", "encoder", True, True)
    assert (second.request_id, second.status, second.project_id, second.model) == ("req-2", 422, None, "")
    assert (third.endpoint, third.status) == ("unmatched", 404)


@pytest.mark.django_db
def test_pages_and_a_log_that_is_off_leave_no_line(client, post, settings):
    post("predict", {"text": "x"})
    settings.ENSO_REQUEST_LOG = True
    client.get("/healthz")
    assert request_log.write() == 0


def test_days_are_made_ahead_and_dropped_when_they_are_too_old(no_days, settings):
    settings.ENSO_REQUEST_LOG_DAYS = 90
    old, kept = TODAY - timedelta(days=91), TODAY - timedelta(days=90)
    make_partitions({old, kept})
    noon = datetime(kept.year, kept.month, kept.day, 12, tzinfo=UTC)
    request_log._copy([line(noon - timedelta(days=1)), line(noon)])
    assert keep(TODAY) == {"made": 8, "dropped": 1}
    assert days() == [kept, *(TODAY + timedelta(days=n) for n in range(8))]
    assert [row.at for row in RequestLog.objects.all()] == [noon]
    assert keep(TODAY) == {"made": 0, "dropped": 0}


def test_a_day_that_nobody_has_made_is_made_by_the_one_who_needs_it(no_days):
    request_log._waiting.append(line(datetime(2031, 5, 5, 23, 59, 59, 999_999, tzinfo=UTC)))
    request_log._waiting.append(line(datetime(2031, 5, 6, tzinfo=UTC)))
    assert request_log.write() == 2
    assert {partition(d) for d in days()} == {"serving_requestlog_p20310505", "serving_requestlog_p20310506"}


@pytest.mark.django_db
def test_a_log_that_cannot_be_written_costs_lines_which_are_counted():
    request_log._waiting.append((*line(datetime(2031, 5, 5, tzinfo=UTC))[:4], "no number", 1.5, None, "", "", ""))
    assert request_log.write() == 0
    assert lost() == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")  # the connection is whole


def test_more_than_it_can_hold_is_lost_and_counted_and_memory_stays(monkeypatch):
    monkeypatch.setattr(request_log, "MOST_WAITING", 2)
    for _ in range(5):
        request_log.add(request_id="r", endpoint="predict", method="POST", status=200, seconds=0.001)
    assert (len(request_log._waiting), lost()) == (2, 3)
