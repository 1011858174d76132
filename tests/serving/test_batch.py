"""Prediction of files and streams: what comes out, what is refused, and that a killed job repeats nothing."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from feedback import jobs
from feedback.models import Inquiry, Job, JobState, OutboxEvent
from feedback.problems import Problem
from labeling.exchange.models import ExchangeChunk, ExchangeFile
from labeling.models import LabelTask
from serving import batch, services
from serving.models import DecisionRecord
from tests.conftest import make_key
from tests.servers import ROOT

TEXTS = ("Where is my parcel?", "I want my money back.", "荷物はどこですか")


@pytest.fixture
def sent(client, key):
    """POST a file as it is: `sent(b"…", "name=x.csv")`."""

    def send(body, query="", media="text/csv", path="predict/files"):
        return client.post(
            f"/api/v1/{path}?{query}", body, content_type=media, headers={"Authorization": f"Api-Key {key}"}
        )

    return send


@pytest.fixture
def asked(client, key):
    def ask(path, method="get"):
        return getattr(client, method)(f"/api/v1/predict/files/{path}", headers={"Authorization": f"Api-Key {key}"})

    return ask


def lines_of(answer):
    return [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]


def as_jsonl(*rows):
    return b"".join(json.dumps(r).encode() + b"\n" for r in rows)


@pytest.mark.django_db
def test_a_file_is_predicted_row_by_row_and_nothing_of_it_becomes_an_inquiry(sent, asked, post):
    body = as_jsonl({"text": TEXTS[0], "external_id": "a"}, {"text": ""}, {"text": TEXTS[2]}) + b"[1]\n"
    begun = sent(body, media="application/x-ndjson")
    assert (begun.status_code, begun.json()["state"], begun.json()["result"]) == (202, "queued", None)
    told = begun.json()["id"]
    assert asked(f"{told}/result").status_code == 409
    jobs.run(told)
    known = asked(told).json()
    assert (known["state"], known["progress"], known["predicted"], known["refused"]) == ("done", 1.0, 2, 2)
    assert [(r["row"], r["field"]) for r in known["refused_rows"]] == [(2, "text"), (4, "")]
    lines = lines_of(asked(f"{told}/result"))
    assert [line["row"] for line in lines] == [1, 2, 3, 4]
    assert "give the customer's text" in lines[1]["error"]["detail"]
    alone = post("predict", {"text": TEXTS[0]}).json()
    named = ("category", "confidence", "probabilities", "sentiment", "decision", "model")
    assert {k: lines[0][k] for k in named} == {k: alone[k] for k in named}
    assert lines[0]["external_id"] == "a"
    assert not any(TEXTS[0] in json.dumps(line) for line in lines)
    assert not any(model.objects.exists() for model in (Inquiry, DecisionRecord, LabelTask))
    assert not OutboxEvent.objects.filter(kind__startswith="inquiry").exists()
    assert not ExchangeFile.objects.filter(pk=Job.objects.get(pk=told).params["file"]).exists()


@pytest.mark.django_db
def test_csv_comes_back_as_csv_with_its_own_column_for_the_text(sent, asked):
    told = sent(b"id,message\n1,Where is my parcel?\n2,\n", "name=t.csv&text_column=message").json()["id"]
    jobs.run(told)
    answer = asked(f"{told}/result")
    assert answer["Content-Disposition"] == 'attachment; filename="t-predictions.csv"'
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert [r["row"] for r in rows] == ["2", "3"]
    assert set(json.loads(rows[0]["probabilities"])) <= {"refund", "delivery", "fraud"}
    assert rows[1]["error"].startswith("text is empty")


@pytest.mark.django_db
def test_parquet_goes_in_and_comes_out(sent, asked, tmp_path):
    given, made = io.BytesIO(), tmp_path / "made.parquet"
    pq.write_table(pa.table({"text": list(TEXTS)}), given)
    told = sent(given.getvalue(), "name=t.parquet").json()["id"]
    jobs.run(told)
    made.write_bytes(b"".join(asked(f"{told}/result").streaming_content))
    rows = pq.read_table(made).to_pylist()
    assert [r["row"] for r in rows] == [1, 2, 3]
    assert {s["category"] for s in rows[0]["probabilities"]} <= {"refund", "delivery", "fraud"}
    assert ExchangeFile.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "query", "status", "word"),
    [
        (b"", "name=x.csv", 422, "empty"),
        (b"text\nx\n", "name=x.exe", 422, "name the format"),
        (b"text\nx\n", "name=x.zip", 422, "cannot be predicted"),
        (b"text\nx\n", "format=xlsx", 422, "Choose one"),
        (b"text\nx\n", "name=x.csv&color=red", 422, "no parameter"),
        (b"text\nx\n", "name=x.csv&project=bank", 404, "no project"),
    ],
)
def test_what_cannot_be_a_file_is_refused_before_a_job_is_made(sent, body, query, status, word):
    answer = sent(body, query)
    assert (answer.status_code, word in answer.json()["detail"]) == (status, True), answer.json()
    assert not Job.objects.exists()


@pytest.mark.django_db
def test_a_file_without_the_column_is_done_and_says_why(sent, asked):
    told = sent(b"id,words\n1,x\n", "name=x.csv").json()["id"]
    jobs.run(told)
    known = asked(told).json()
    assert (known["state"], known["predicted"]) == ("done", 0)
    assert "There is no column 'text'" in known["problem"]


@pytest.mark.django_db
def test_a_file_of_another_project_does_not_exist(sent, client, other_project):
    told = sent(b"text\nx\n", "name=x.csv").json()["id"]
    theirs = {"Authorization": f"Api-Key {make_key(other_project)}"}
    for path in (f"{told}", f"{told}/result"):
        assert client.get(f"/api/v1/predict/files/{path}", headers=theirs).status_code == 404
    assert client.post(f"/api/v1/predict/files/{told}/cancel", headers=theirs).status_code == 404


@pytest.mark.django_db
def test_a_project_has_so_many_files_waiting_and_no_more(sent, monkeypatch):
    monkeypatch.setattr(batch, "MOST_UNFINISHED", 1)
    assert sent(b"text\nx\n", "name=x.csv").status_code == 202
    answer = sent(b"text\ny\n", "name=x.csv")
    assert (answer.status_code, "cancel it" in answer.json()["detail"]) == (422, True)


@pytest.mark.django_db
def test_a_running_file_is_cancelled_after_its_batch_and_keeps_what_it_has(sent, asked, monkeypatch):
    monkeypatch.setattr(batch, "BATCH", 1)
    told = sent(b"text\nx\ny\nz\n", "name=x.csv").json()["id"]
    answer = batch.answered
    monkeypatch.setattr(batch, "answered", lambda *a: asked(f"{told}/cancel", "post") and answer(*a))
    jobs.run(told)
    assert (asked(told).json()["state"], asked(told).json()["rows"]) == ("cancelled", 1)
    assert asked(f"{told}/cancel", "post").status_code == 409


@pytest.mark.django_db
def test_a_busy_encoder_delays_a_file_and_fails_none_of_it(sent, asked, monkeypatch):
    answer, busy = services.predict, iter([True, False])
    monkeypatch.setattr(batch, "PAUSE_SECONDS", 0.001)

    def predict(**given):
        if next(busy):
            raise Problem(503, "busy", "Later.")
        return answer(**given)

    monkeypatch.setattr(services, "predict", predict)
    told = sent(b"text\nx\n", "name=x.csv").json()["id"]
    jobs.run(told)
    assert (asked(told).json()["state"], asked(told).json()["predicted"]) == ("done", 1)


def test_the_time_that_is_left_follows_the_rate_of_this_attempt():
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    began = (now - timedelta(seconds=10)).isoformat()
    job = Job(checkpoint={"rows": 600, "total": 1000, "from": 500, "began": began})
    known = batch.progress_of(job, now)
    assert (known.share, known.seconds) == (0.6, 40.0)
    assert batch.progress_of(Job(checkpoint={"rows": 9}), now).seconds is None


@pytest.mark.django_db
def test_a_stream_answers_each_line_in_order_and_a_wrong_line_costs_that_line_alone(sent):
    body = (
        as_jsonl({"text": TEXTS[0], "external_id": "a"})
        + b"{\n\n"
        + as_jsonl({"text": "x", "color": 1}, {"text": TEXTS[1]})
    )
    answer = sent(body, media="application/x-ndjson", path="predict/stream")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/x-ndjson")
    lines = lines_of(answer)
    assert [line["line"] for line in lines] == [1, 2, 4, 5]
    assert (lines[0]["external_id"], lines[3]["category"]) == ("a", "refund")
    assert [line["error"]["type"].rsplit(":")[-1] for line in lines[1:3]] == ["malformed", "unknown-field"]


@pytest.mark.django_db
def test_a_stream_computes_no_further_than_it_is_read(sent, monkeypatch):
    seen, answer = [], services.predict
    monkeypatch.setattr(services, "predict", lambda **g: seen.append(len(g["texts"])) or answer(**g))
    stream = sent(as_jsonl(*[{"text": TEXTS[2]}] * 200), media="application/x-ndjson", path="predict/stream")
    assert seen == []
    assert next(iter(stream.streaming_content)).count(b"\n") == 64
    assert seen == [64]


@pytest.mark.django_db
def test_a_stream_that_breaks_off_says_so_in_its_lines(sent, monkeypatch):
    monkeypatch.setattr(services, "predict", lambda **given: 1 / 0)
    (line,) = lines_of(sent(as_jsonl({"text": "x"}), media="application/x-ndjson", path="predict/stream"))
    assert (line["line"], "send this line again" in line["error"]["detail"]) == (1, True)


@pytest.mark.django_db
def test_the_command_writes_the_result_beside_the_file(project, tmp_path, capsys):
    file = tmp_path / "texts.csv"
    file.write_text("text\nWhere is my parcel?\nx,y\n")
    call_command("predict_file", "shop", str(file), "--output", str(tmp_path / "out.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert ("category" in lines[0], "error" in lines[1]) == (True, True)
    assert "1 predicted, 1 refused" in capsys.readouterr().out
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("predict_file", "shop", str(tmp_path / "none.csv"))


ROWS = 400
PROGRAM = """
import sys
from config import entry
entry.prepare()
import django
django.setup()
from django.db import connection
connection.settings_dict["NAME"] = sys.argv[1]
from feedback import jobs
jobs.run(int(sys.argv[2]))
"""


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_job_killed_in_the_middle_is_finished_by_the_next_and_repeats_no_row(project):
    pieces = iter([as_jsonl(*({"text": f"{TEXTS[0]} {i}", "external_id": str(i)} for i in range(ROWS)))])
    job = batch.ask(project_id=project.pk, name="x.jsonl", pieces=pieces, params={})
    command = [sys.executable, "-c", PROGRAM, connection.settings_dict["NAME"], str(job.pk)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while process.poll() is None and not ExchangeChunk.objects.filter(file__name__contains="predictions").exists():
        assert time.monotonic() < end, "the job did not start"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    job.refresh_from_db()
    assert job.state == JobState.RUNNING
    assert 0 < job.checkpoint["rows"] < ROWS
    Job.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    jobs.sweep()
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.result["predicted"]) == (JobState.DONE, 2, ROWS)
    data = b"".join(bytes(c.data) for c in ExchangeChunk.objects.filter(file_id=job.result["file"]).order_by("number"))
    assert [json.loads(line)["external_id"] for line in data.splitlines()] == [str(i) for i in range(ROWS)]
