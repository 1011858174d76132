"""Drift checks from the rows of a project to the report, the verdict and the alarm."""

from __future__ import annotations

import threading
import uuid
from datetime import timedelta
from typing import Any

import pytest
from celery.contrib.testing.worker import start_worker
from celery.signals import task_postrun
from django.db import connection, transaction
from django.utils import timezone

from config.celery import app
from feedback import jobs
from feedback.models import Inquiry, Job, OutboxEvent, Project
from labeling.models import Label
from learning import drift_jobs, drifting, evidence, verdicts
from learning.drift_tasks import ask, due, schedule_drift
from learning.erasure import erase_customer
from learning.models import DriftReference, DriftReport, DriftSettings, GuardReport, RetrainingVerdict
from serving.models import Embedding
from tests.learning.drift_world import NEW, arrive, audit, checked, encoder_sha, known_past, mixed, run_check, serve

pytestmark = pytest.mark.django_db


@pytest.fixture
def watched(project: Project) -> Project:
    """Small references and windows; a level that few resamples reach."""
    DriftSettings.objects.create(project=project, reference_size=400, check_after=100, false_alarms=0.5)
    return project


def test_a_new_intent_raises_the_alarm_and_its_texts_are_named(watched: Project) -> None:
    since = known_past(watched)
    topics = mixed(100, new=25)
    came = arrive(watched, topics, seed=2, since=since)
    report = checked(watched)
    assert report.state == "critical"
    assert "input" in report.kinds
    new = {str(i.pk) for i, t in zip(came, topics, strict=True) if t == NEW}
    named = [e["inquiry"] for e in report.examples]
    assert len(named) == 12
    assert set(named) <= new
    assert OutboxEvent.objects.get(kind="drift.alarm").payload == {"report": report.pk}


def test_a_window_like_the_past_raises_none(watched: Project) -> None:
    since = known_past(watched)
    arrive(watched, mixed(100, seed=5), seed=3, since=since)
    report = checked(watched)
    assert report.state != "critical"
    assert report.kinds == ["none"]
    assert not OutboxEvent.objects.filter(kind="drift.alarm").exists()


def test_a_shift_of_one_language_is_found_in_its_slice(watched: Project) -> None:
    begin = timezone.now() - timedelta(days=2)
    arrive(watched, mixed(200), seed=1, since=begin)
    arrive(watched, mixed(200, seed=1), seed=2, since=begin + timedelta(hours=1), locale="fr")
    serve(watched, since=begin + timedelta(hours=2))
    arrive(watched, mixed(50, seed=2), seed=3, since=begin + timedelta(hours=3))
    arrive(watched, [2] * 50, seed=4, since=begin + timedelta(hours=4), locale="fr")
    slices = {(s["by"], s["value"]): s["drifted"] for s in checked(watched).slices}
    assert slices == {("locale", "en"): False, ("locale", "fr"): True}


def test_too_few_texts_are_not_judged_and_the_job_ends_well(watched: Project) -> None:
    arrive(watched, mixed(60), seed=1, since=timezone.now() - timedelta(days=1))
    job = run_check(watched)
    assert job.state == "done", job.errors
    assert job.result["reports"] == []


def test_errors_within_an_answer_are_concept_drift(watched: Project) -> None:
    since = known_past(watched)
    window = arrive(watched, mixed(100, new=20), seed=2, since=since)
    past = list(Inquiry.objects.filter(received_at__lt=since).order_by("received_at")[300:])
    audit(watched, past, [n % 10 != 0 for n in range(100)])
    audit(watched, window, [n % 2 == 0 for n in range(100)])
    report = checked(watched)
    assert "concept" in report.kinds
    assert "lead" not in report.kinds


# Evidence


def test_a_report_is_rebuilt_from_its_references_though_labels_have_changed(watched: Project) -> None:
    since = known_past(watched)
    arrive(watched, mixed(100, new=10), seed=2, since=since)
    report = checked(watched)
    Label.objects.update(category=None)
    found = drifting.rebuild(report)
    assert found.same
    assert found.statistic == report.statistic


def test_a_report_whose_evidence_was_changed_is_not_rebuilt(watched: Project) -> None:
    since = known_past(watched)
    arrive(watched, mixed(100), seed=2, since=since)
    report = checked(watched)
    evidence.place(f"{report.window}.json").write_text("{}")
    with pytest.raises(LookupError, match="was changed"):
        drifting.rebuild(report)


@pytest.mark.django_db(transaction=True)
def test_an_erasure_reaches_the_reference(watched: Project) -> None:
    begin = timezone.now() - timedelta(days=2)
    arrive(watched, mixed(20, seed=7), seed=7, since=begin, customer="c-17")
    since = begin + timedelta(seconds=20)
    arrive(watched, mixed(380), seed=1, since=since)
    serve(watched, since=since + timedelta(seconds=380))
    arrive(watched, mixed(100, seed=3), seed=2, since=since + timedelta(seconds=381))
    report = checked(watched)
    erase = erase_customer(project_id=watched.pk, customer="c-17")
    jobs.run(erase.pk)
    with pytest.raises(LookupError, match="erased"):
        drifting.rebuild(report)
    again = checked(watched)
    assert again.reference != report.reference
    assert again.reference.size == 380
    assert again.reference.upto == report.reference.upto
    known = Embedding.objects.filter(inquiry__received_at__lte=report.reference.upto)
    left = evidence.read(again.reference.sha256)["inquiries"]
    assert set(left) == {str(pk) for pk in known.values_list("inquiry_id", flat=True)}


# Jobs


def test_a_check_that_was_killed_goes_on_with_the_report_it_has(
    watched: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = known_past(watched)
    arrive(watched, mixed(100), seed=2, since=since)
    real = drift_jobs._judged

    def killed(running: jobs.Running) -> RetrainingVerdict:
        monkeypatch.setattr(drift_jobs, "_judged", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(drift_jobs, "_judged", killed)
    job = ask(project_id=watched.pk)
    with pytest.raises(KeyboardInterrupt):
        jobs.run(job.pk)
    report = DriftReport.objects.get()
    Job.objects.update(heartbeat_at="2020-01-01T00:00:00Z")
    jobs.sweep()
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == "done", job.errors
    assert DriftReport.objects.get() == report
    assert RetrainingVerdict.objects.get().job == job
    assert GuardReport.objects.get().job == job


def test_a_check_that_was_taken_over_writes_nothing(watched: Project) -> None:
    since = known_past(watched)
    arrive(watched, mixed(100), seed=2, since=since)
    running = jobs.claim(ask(project_id=watched.pk).pk)
    assert running is not None
    found = drifting.check(project_id=watched.pk, encoder_sha=encoder_sha())
    assert found is not None
    Job.objects.update(token="00000000-0000-0000-0000-000000000000")

    def write() -> None:
        with transaction.atomic():
            running.hold()
            drifting.report(found, trigger="hand", job=running.job)

    with pytest.raises(jobs.Fenced):
        write()
    assert not DriftReport.objects.exists()


def test_checks_are_due_with_enough_inquiries_and_then_with_new_ones(watched: Project) -> None:
    since = known_past(watched, 240)
    assert due(project_id=watched.pk) is None
    arrive(watched, mixed(60), seed=2, since=since)
    assert due(project_id=watched.pk) == "inquiries"
    checked(watched)
    Job.objects.update(created_at=timezone.now() - timedelta(hours=1))
    assert due(project_id=watched.pk) is None
    arrive(watched, mixed(60), seed=3, since=timezone.now() - timedelta(hours=2))
    assert due(project_id=watched.pk) is None
    DriftReport.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert due(project_id=watched.pk) == "daily"


@pytest.mark.django_db(transaction=True)
def test_beat_wakes_a_check_that_celery_carries_out(watched: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    since = known_past(watched, 240)
    arrive(watched, mixed(60, new=20), seed=2, since=since)
    queue, done = f"learn-{uuid.uuid4().hex}", threading.Event()  # other tests' messages are not ours
    monkeypatch.setitem(jobs._kinds, "drift", jobs.Kind(jobs._kinds["drift"].handler, queue))

    def ended(sender: Any = None, **_: Any) -> None:
        if sender.name == "feedback.run_job":
            done.set()

    task_postrun.connect(ended)
    with start_worker(app, pool="solo", perform_ping_check=False, queues=[queue], shutdown_timeout=60):
        assert schedule_drift() == 1
        assert done.wait(120)
    task_postrun.disconnect(ended)
    assert Job.objects.get(kind="drift").state == "done"
    report = DriftReport.objects.get()
    assert (report.trigger, report.state) == ("inquiries", "critical")


# Verdicts


def critical_reports(project: Project, n: int, *, overlapping: bool = False) -> None:
    now = timezone.now()
    reference = DriftReference.objects.create(
        project=project, encoder_sha="e", sha256="a" * 64, embeddings_sha256="b" * 64, size=400, labels=0, upto=now
    )
    for i in range(n):
        begins = now + timedelta(hours=0 if overlapping else i)
        DriftReport.objects.create(
            project=project, reference=reference, encoder_sha="e", trigger="daily", window="c" * 64, begins=begins,
            ends=begins + timedelta(minutes=50), n=100, looks=30, resamples=120, level=0.01, state="critical", statistic=9.0,
            threshold=5.0, p_value=0.001,
        )  # fmt: skip


def test_three_critical_checks_in_a_row_ask_for_a_training_and_say_why(watched: Project) -> None:
    critical_reports(watched, 3)
    verdict = verdicts.act(verdicts.judge(project_id=watched.pk))
    assert (verdict.retrain, verdict.reason, verdict.critical_in_a_row) == (True, "drift", 3)
    training = Job.objects.get(kind="train")
    assert verdict.training == training
    assert training.params == {"reason": "drift"}


def test_one_alarm_without_audited_answers_is_a_lead_and_starts_no_training(watched: Project) -> None:
    since = known_past(watched)
    arrive(watched, mixed(100, new=25), seed=2, since=since)
    assert checked(watched).state == "critical"
    verdict = RetrainingVerdict.objects.get()
    assert (verdict.retrain, verdict.reason, verdict.critical_in_a_row) == (False, "too few audits", 1)
    assert not Job.objects.filter(kind="train").exists()


def test_checks_of_the_same_texts_count_once(watched: Project) -> None:
    critical_reports(watched, 3, overlapping=True)
    assert verdicts.critical_in_a_row(project_id=watched.pk) == 1


def test_a_loss_of_audited_accuracy_is_a_verdict_without_any_drift(watched: Project) -> None:
    answered = arrive(watched, mixed(240), seed=2, since=timezone.now() - timedelta(days=1))
    audit(watched, answered, [n % 3 != 0 for n in range(240)])
    verdict = verdicts.judge(project_id=watched.pk)
    assert (verdict.retrain, verdict.reason) == (True, "accuracy")
    assert verdict.now is not None
    assert verdict.now["value"] == pytest.approx(2 / 3, abs=0.01)
    assert verdict.now["upper"] < 0.85


@pytest.mark.django_db(transaction=True)
def test_verdicts_that_come_at_once_ask_for_one_training(watched: Project) -> None:
    """Also where a training runs already: another one after it would learn nothing more."""
    critical_reports(watched, 3)
    together = threading.Barrier(3)

    def act() -> None:
        row = verdicts.judge(project_id=watched.pk)
        together.wait()
        with transaction.atomic():
            verdicts.act(row)
        connection.close()

    threads = [threading.Thread(target=act) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    training = Job.objects.get(kind="train")
    assert not training.again
    assert [v.training_id for v in RetrainingVerdict.objects.all()] == [training.pk] * 3


def test_a_training_that_waits_for_labels_is_carried_through_once_a_verdict_asks(watched: Project) -> None:
    jobs.enqueue(kind="train", project_id=watched.pk, params={"if_due": True})
    critical_reports(watched, 3)
    verdicts.act(verdicts.judge(project_id=watched.pk))
    assert Job.objects.get(kind="train").params == {"reason": "drift"}
