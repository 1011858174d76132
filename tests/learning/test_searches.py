"""A search that is fanned out: every trial is told once, whoever runs it and whoever is killed, and the result is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from feedback import jobs
from feedback.models import Fold, Inquiry, Job, JobState, Project
from labeling.models import Label
from learning import searches
from learning.models import Search, SearchState, TrainingSettings, Trial, TrialState
from tests.databases import blocked, held, url
from tests.servers import ROOT

pytestmark = pytest.mark.django_db(transaction=True)
WITHIN = 180.0


@pytest.fixture
def labeled(desk: Project, add_labels: Callable[..., None]) -> Project:
    add_labels(desk, 180)
    Inquiry.objects.update(fold=Fold.TRAIN)
    return desk


def begun(project: Project, *, trials: int = 6, width: int = 3, seed: int = 0) -> Search:
    return searches.begin(project_id=project.pk, method="ewc_replay", trials=trials, width=width, seed=seed)


def run_waiting(search: Search, *, backwards: bool = False) -> None:
    """As learners would, one job after another, until the search has ended."""
    while waiting := list(
        search.trials.filter(state=TrialState.WAITING).order_by("-number" if backwards else "number")
    ):
        for trial in waiting:
            jobs.run(trial.job_id)
    search.refresh_from_db()


def result(search: Search) -> list[tuple[object, ...]]:
    return list(search.trials.order_by("number").values_list("number", "options", "state", "loss", "accuracy"))


def test_the_same_seed_and_width_give_the_same_result_in_whatever_order_trials_end(labeled: Project) -> None:
    first, second = begun(labeled), None
    run_waiting(first)
    assert (first.state, first.trials.count()) == (SearchState.DONE, 6)
    second = begun(labeled)
    run_waiting(second, backwards=True)
    assert result(second) == result(first)
    assert first.best().loss == min(t.loss for t in first.trials.all())
    assert len({t.options["rate"] for t in first.trials.all()}) == 6


def test_a_generation_waits_for_all_of_its_trials_and_no_more_than_its_width_are_queued(labeled: Project) -> None:
    search = begun(labeled, trials=4, width=3)
    one, two, three = search.trials.order_by("number")
    jobs.run(one.job_id)
    jobs.run(three.job_id)
    assert search.trials.count() == 3
    jobs.run(two.job_id)
    assert search.trials.count() == 4
    assert Job.objects.filter(kind="trial", state=JobState.QUEUED).count() == 1


def test_a_result_that_is_told_twice_counts_once(labeled: Project) -> None:
    search = begun(labeled, trials=2, width=1)
    trial = search.trials.get()
    jobs.run(trial.job_id)
    trial.refresh_from_db()
    Job.objects.filter(pk=trial.job_id).update(state=JobState.FAILED)  # its message comes again
    jobs.run(trial.job_id)
    assert search.trials.count() == 2
    assert Trial.objects.get(pk=trial.pk).finished_at == trial.finished_at


def test_a_search_that_is_cancelled_begins_nothing_more(labeled: Project) -> None:
    search = begun(labeled)
    jobs.run(search.trials.first().job_id)
    assert searches.cancel(search.pk)
    assert not searches.cancel(search.pk)
    assert set(Job.objects.filter(kind="trial").values_list("state", flat=True)) == {"done", "cancelled"}
    run_waiting_once = [jobs.run(t.job_id) for t in search.trials.all()]
    assert len(run_waiting_once) == search.trials.count() == 3
    assert search.trials.filter(state=TrialState.DONE).count() == 1


def test_a_trial_whose_job_has_died_has_failed_and_the_search_goes_on(labeled: Project) -> None:
    search = begun(labeled, trials=4, width=2)
    one, two = search.trials.order_by("number")
    Job.objects.filter(pk=one.job_id).update(state=JobState.DEAD, errors=["attempt 3: MemoryError: "])
    jobs.run(two.job_id)
    assert search.trials.count() == 2
    from learning.search_tasks import schedule_searches

    assert schedule_searches() == 1
    jobs.run(Job.objects.get(kind="look_after_searches").pk)
    one.refresh_from_db()
    assert (one.state, one.why) == (TrialState.FAILED, "attempt 3: MemoryError: ")
    run_waiting(search)
    assert (search.state, search.trials.filter(state=TrialState.DONE).count()) == (SearchState.DONE, 3)


def test_a_search_whose_labels_were_erased_says_so(labeled: Project) -> None:
    search = begun(labeled)
    Inquiry.objects.order_by("pk").first().delete()
    run_waiting(search)
    assert search.state == SearchState.FAILED
    assert "erased" in search.why
    with pytest.raises(searches.CannotSearch, match="only one that is done"):
        searches.take(search)


def test_the_best_options_become_the_projects(labeled: Project) -> None:
    search = begun(labeled, trials=2, width=2)
    run_waiting(search)
    searches.take(search)
    told, best = TrainingSettings.of(labeled.pk), search.best().options
    assert told.challenger == "ewc_replay"
    assert {**told.challenger_options, "feedback_weight": told.feedback_weight} == best


def test_a_wrong_search_is_refused_by_the_name_of_what_is_wrong(labeled: Project) -> None:
    for wrong, why in (
        ({"trials": 0}, "trials must be"),
        ({"width": 65}, "width must be"),
        ({"seed": -1}, "seed must be"),
    ):
        with pytest.raises(searches.CannotSearch, match=why):
            begun(labeled, **wrong)
    begun(labeled)
    with pytest.raises(searches.CannotSearch, match="runs already"):
        begun(labeled)
    Search.objects.update(state=SearchState.CANCELLED)
    Label.objects.filter(pk__in=Label.objects.order_by("pk").values("pk")[:150]).update(category=None)
    with pytest.raises(CommandError, match="too few to validate"):
        call_command("search", labeled.slug)


@contextmanager
def learner(name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker of the queue `learn` on this test's database, in a process group of its own."""
    command = [
        sys.executable, "-m", "celery", "--quiet", "-A", "config.celery", "worker", "--queues", "learn", "--concurrency", "1",
        "--hostname", f"learn@{name}-{uuid.uuid4().hex}", "--without-gossip", "--without-mingle", "--loglevel", "WARNING",
    ]  # fmt: skip
    environment = {**os.environ, "DATABASE_URL": url(), "ENSO_ARTIFACTS": str(settings.ENSO_ARTIFACTS)}
    worker = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        yield worker
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + WITHIN
    while not true():
        assert time.monotonic() < end, "it never came there"
        time.sleep(0.05)


@pytest.mark.processes
@pytest.mark.timeout(600)
def test_workers_share_the_trials_and_one_that_is_killed_loses_none(labeled: Project) -> None:
    alone = begun(labeled, trials=4, width=2)
    run_waiting(alone)
    Job.objects.filter(kind="trial").delete()
    search = begun(labeled, trials=4, width=2)
    with held("LOCK TABLE learning_trial IN EXCLUSIVE MODE"), learner("first"):
        until(blocked)  # the trial is over, and about to be told
    assert search.trials.filter(state=TrialState.WAITING).count() == 2
    silent = timezone.now() - 2 * jobs.LOST_AFTER
    Job.objects.filter(state=JobState.RUNNING).update(heartbeat_at=silent, sent_at=silent - jobs.LOST_AFTER)
    with learner("second"), learner("third"):
        jobs.sweep()
        until(lambda: Search.objects.filter(pk=search.pk).exclude(state=SearchState.RUNNING))
    search.refresh_from_db()
    assert search.state == SearchState.DONE
    assert result(search) == result(alone)
    assert sorted(Job.objects.filter(kind="trial").values_list("attempt", flat=True)) == [1, 1, 1, 2]
