from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from feedback import jobs
from feedback.models import Job, JobState

pytestmark = pytest.mark.django_db


@pytest.fixture
def kinds(monkeypatch):
    known: dict[str, jobs.Kind] = {}
    monkeypatch.setattr(jobs, "_kinds", known)
    return known


def handle(kinds, function):
    kinds["work"] = jobs.Kind(function, "io")


def test_a_job_runs_once_and_keeps_its_result(project, kinds):
    handle(kinds, lambda running: {"answer": 42})
    job = jobs.enqueue(kind="work", project_id=project.pk)
    jobs.run(job.pk)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result, job.attempt, job.progress) == (JobState.DONE, {"answer": 42}, 1, 1.0)


def test_asking_for_work_that_waits_already_gives_the_waiting_job(project, kinds):
    first = jobs.enqueue(kind="work", project_id=project.pk)
    assert jobs.enqueue(kind="work", project_id=project.pk).pk == first.pk


def test_asking_while_it_runs_runs_it_once_more_afterwards(project, kinds):
    asked = []

    def work(running):
        if not asked:
            asked.append(jobs.enqueue(kind="work", project_id=project.pk).pk)
        return {}

    handle(kinds, work)
    job = jobs.enqueue(kind="work", project_id=project.pk)
    jobs.run(job.pk)
    assert asked == [job.pk]
    assert list(Job.objects.order_by("pk").values_list("state", flat=True)) == [JobState.DONE, JobState.QUEUED]


def test_a_failure_is_kept_and_tried_again_until_the_job_is_dead(project, kinds):
    def work(running):
        raise ValueError("no luck")

    handle(kinds, work)
    job = jobs.enqueue(kind="work", project_id=project.pk)
    states = []
    for _ in range(jobs.MAX_ATTEMPTS + 1):
        jobs.run(job.pk)
        job.refresh_from_db()
        states.append(job.state)
    assert states == [JobState.FAILED, JobState.FAILED, JobState.DEAD, JobState.DEAD]
    assert job.errors == [f"attempt {n}: ValueError: no luck" for n in (1, 2, 3)]


def test_a_worker_that_was_given_up_for_dead_cannot_write_any_more(project, kinds):
    handle(kinds, lambda running: {})
    job = jobs.enqueue(kind="work", project_id=project.pk)
    ghost = jobs.claim(job.pk)
    Job.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    jobs.sweep()
    heir = jobs.claim(job.pk)
    assert heir is not None
    with pytest.raises(jobs.Fenced):
        ghost.report(0.5, "still here")
    with pytest.raises(jobs.Fenced):
        ghost.save_checkpoint({"step": 9})
    heir.report(0.1, "mine")


def test_a_lost_job_keeps_its_checkpoint_for_the_next_attempt(project, kinds):
    handle(kinds, lambda running: {"resumed from": running.job.checkpoint["step"]})
    job = jobs.enqueue(kind="work", project_id=project.pk)
    jobs.claim(job.pk).save_checkpoint({"step": 3})
    Job.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    assert jobs.sweep() == 1
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.result == {"resumed from": 3}
    assert job.attempt == 2


def test_a_job_whose_message_was_lost_is_sent_again(project, kinds):
    jobs.enqueue(kind="work", project_id=project.pk)
    assert jobs.sweep() == 1  # on_commit never ran here: the message was never sent
    assert jobs.sweep() == 0


def test_a_waiting_job_is_cancelled_at_once(project, kinds):
    handle(kinds, lambda running: {})
    job = jobs.enqueue(kind="work", project_id=project.pk)
    assert jobs.cancel(job.pk)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert not jobs.cancel(job.pk)


def test_a_running_job_stops_at_its_next_report(project, kinds):
    reached = []

    def work(running):
        jobs.cancel(running.job.pk)
        running.report(0.5, "half way")
        reached.append("the end")
        return {}

    handle(kinds, work)
    job = jobs.enqueue(kind="work", project_id=project.pk)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert not reached
