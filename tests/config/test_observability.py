"""GET /metrics: who may read it, what it says, and that every process's counts are in it."""

from __future__ import annotations

import json
import os

import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg_pool import PoolTimeout

from config import observability
from config.observability import READ, REQUESTS
from feedback import gauges, jobs, metric_files, metrics, outbox
from feedback.metrics import BUCKETS, known


@pytest.fixture(autouse=True)
def _alone(settings, tmp_path):
    """Counts of this test alone, and no figure kept from another."""
    settings.ENSO_METRICS_DIR = tmp_path / "metrics"
    metric_files.counts.clear()
    observability.looks.forget()


def read(client, **headers):
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.content
    families = text_string_to_metric_families(answer.content.decode())
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def value(found, name, **labels):
    return found.get((name, *sorted(labels.items())))


@pytest.mark.django_db
def test_it_is_read_from_this_machine(client):
    assert client.get("/metrics").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    "given",
    [
        {"REMOTE_ADDR": "203.0.113.9"},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_FORWARDED": "for=127.0.0.1"},
        {"REMOTE_ADDR": ""},
    ],
)
def test_it_is_not_read_from_elsewhere_nor_through_a_proxy(client, given):
    assert client.get("/metrics", **given).status_code == 403


@pytest.mark.django_db
def test_with_a_token_its_holder_alone_reads_it(client, settings):
    settings.ENSO_METRICS_TOKEN = "s3cret"
    assert client.get("/metrics").status_code == 403
    assert client.get("/metrics", headers={"Authorization": "Bearer guess"}).status_code == 403
    assert (
        client.get("/metrics", headers={"Authorization": "Bearer s3cret"}, REMOTE_ADDR="203.0.113.9").status_code == 200
    )


@pytest.mark.django_db
def test_requests_and_decisions_are_counted_by_endpoint_version_and_step(client, post):
    assert post("predict", {"text": "Where is my parcel?"}).status_code == 200
    assert post("inquiries", {"text": "Somebody stole my card and is paying with it."}).status_code == 201
    assert post("inquiries", {}).status_code == 422
    client.get("/no/such/page")
    found = read(client)
    assert value(found, "enso_http_requests_total", endpoint="predict", method="POST", status="200") == 1
    assert value(found, "enso_http_requests_total", endpoint="inquiries", method="POST", status="422") == 1
    assert value(found, "enso_http_requests_total", endpoint="unmatched", method="GET", status="404") == 1
    assert value(found, "enso_http_request_seconds_count", endpoint="inquiries") == 2
    assert value(found, "enso_http_request_seconds_bucket", endpoint="inquiries", le="+Inf") == 2
    stored = {"project": "shop", "model": "category-texts", "step": "encoder", "decision": "human", "stored": "yes"}
    assert value(found, "enso_answers_total", **stored) == 1
    assert value(found, "enso_answer_reasons_total", project="shop", reason="high_risk") == 1
    assert value(found, "enso_escalations_opened_total", project="shop") == 1
    assert value(found, "enso_model_seconds_count", project="shop", model="category-texts") == 1
    assert sum(v for key, v in found.items() if key[0] == "enso_escalations_open") == 1
    assert "parcel" not in client.get("/metrics").content.decode()


@pytest.mark.django_db
def test_every_metric_is_there_and_every_group_can_be_read(client, project, annotator):
    outbox.publish(kind="label.resolved", project_id=project.pk, payload={})
    jobs.enqueue(kind="train", project_id=project.pk)
    answer = client.get("/metrics").content.decode()
    there = {family.name for family in text_string_to_metric_families(answer)}
    assert there == set(known)
    found = read(client)
    assert {key[1][1] for key in found if key[0] == READ.name} == set(metrics.groups)
    assert all(v == 1 for key, v in found.items() if key[0] == READ.name)
    assert value(found, "enso_outbox_events", state="pending") >= 1
    assert value(found, "enso_jobs", kind="train", state="queued") == 1
    assert value(found, "enso_annotators_needed", project="shop") == 0


@pytest.mark.django_db
def test_a_group_that_cannot_be_read_is_left_out_and_said_to_be(client, monkeypatch):
    broken = metrics.Group("outbox", 5.0, lambda: gauges.rows("SELECT nothing FROM nowhere"))
    monkeypatch.setitem(metrics.groups, "outbox", broken)
    found = read(client)
    assert value(found, READ.name, group="outbox") == 0
    assert value(found, READ.name, group="jobs") == 1
    assert not any(key[0] == "enso_outbox_events" for key in found)


@pytest.mark.django_db
def test_a_database_that_is_away_is_waited_for_once_and_counts_are_still_there(client, post, monkeypatch):
    asked = []

    def away():
        asked.append(1)
        raise PoolTimeout

    post("predict", {"text": "x"})
    monkeypatch.setattr(
        observability, "groups", {name: metrics.Group(name, 5.0, away) for name in ("jobs", "outbox", "queue")}
    )
    found = read(client)
    assert [value(found, READ.name, group=name) for name in ("jobs", "outbox", "queue")] == [0, 0, 0]
    assert len(asked) == 1
    assert value(found, "enso_http_requests_total", endpoint="predict", method="POST", status="200") == 1


@pytest.mark.django_db
def test_gauges_are_read_once_in_their_time(monkeypatch):
    asked, now = [], [0.0]
    monkeypatch.setattr(metrics, "groups", {})
    monkeypatch.setattr(observability, "groups", {"x": metrics.Group("x", 5.0, lambda: asked.append(1) or [])})
    looks = observability._Looks(clock=lambda: now[0])
    for now[0], n in ((0.0, 1), (4.9, 1), (5.0, 2)):
        list(looks.samples())
        assert len(asked) == n


def test_the_counts_of_every_process_add_up_and_a_dead_one_keeps_its_own():
    metric_files.count(REQUESTS, ("predict", "POST", "200"), 2)
    path = metric_files.folder() / "1-dead.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([["enso_http_requests", ["predict", "POST", "200"], [5.0]]]))
    (path.parent / "2-half.json").write_text("[[")
    assert metric_files.everything()["enso_http_requests", ("predict", "POST", "200")] == [7.0]
    metric_files._writer.write()  # what this process has written itself is not added twice
    assert metric_files.everything()["enso_http_requests", ("predict", "POST", "200")] == [7.0]


def test_a_child_after_a_fork_does_not_count_again_what_its_parent_has():
    metric_files.count(REQUESTS, ("parent", "GET", "200"))
    child = os.fork()
    if child == 0:
        metric_files.count(REQUESTS, ("child", "GET", "200"))
        metric_files._writer.write()
        os._exit(0)
    os.waitpid(child, 0)
    assert metric_files.everything() == {
        ("enso_http_requests", (who, "GET", "200")): [1.0] for who in ("parent", "child")
    }


def test_buckets_are_cumulated_and_the_target_is_one_of_them():
    assert 0.1 in BUCKETS
    counts = metrics.Counts()
    for seconds in (0.0005, 0.1, 99.0):
        counts.observe(observability.SECONDS, ("x",), seconds)
    (row,) = counts.take().values()
    cumulated = dict(observability._cumulated(row))
    assert (cumulated["0.001"], cumulated["0.1"], cumulated["10.0"], cumulated["+Inf"]) == (1, 2, 2, 3)
    assert row[-1] == pytest.approx(99.1005)


def test_a_metric_is_declared_once():
    with pytest.raises(ValueError, match="twice"):
        metrics.declare("gauge", "enso_jobs", "Again.")
