"""Workers hold one connection per thread: a task that ends takes nothing from the thread that looks for new versions."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db.models import F

from feedback.models import Project
from tests.config import watching_worker
from tests.databases import blocked, held, url
from tests.servers import ROOT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes, pytest.mark.timeout(300)]
WITHIN = 90.0
Tell = Callable[[], dict[str, Any]]


@pytest.fixture
def tell(project: Project, tmp_path: Path) -> Iterator[Tell]:
    """Asks a real worker process, one child of which runs the tasks one after another, what it holds."""
    queue, numbers = f"test-{uuid.uuid4().hex}", itertools.count()
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "tests.config.watching_worker", "worker", "--pool", "prefork",
               "--concurrency", "1", "--queues", queue, "--hostname", f"{queue}@test", "--without-gossip",
               "--without-mingle", "--loglevel", "WARNING"]  # fmt: skip
    environment = {**os.environ, "DATABASE_URL": url(), "ENSO_MODEL_POLL_SECONDS": "0.01"}
    worker = subprocess.Popen(command, cwd=ROOT, env=environment)

    def ask() -> dict[str, Any]:
        answer = tmp_path / f"{next(numbers)}.json"
        watching_worker.tell.apply_async(args=(project.pk, str(answer)), queue=queue)
        end = time.monotonic() + WITHIN
        while not answer.exists():
            assert worker.poll() is None, "the worker ended by itself"
            assert time.monotonic() < end, "the worker never answered"
            time.sleep(0.01)
        return dict(json.loads(answer.read_text()))

    try:
        yield ask
    finally:
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(WITHIN)
        finally:
            worker.kill()


def test_a_worker_process_has_no_pool(tell: Tell) -> None:
    first, second = tell(), tell()
    assert (first["pooled"], second["pooled"]) == (False, False)
    assert first["process"] == second["process"]


def test_the_thread_that_looks_for_new_versions_outlives_tasks_that_end_while_it_reads(
    tell: Tell, project: Project
) -> None:
    first = tell()
    with held("LOCK TABLE feedback_project IN ACCESS EXCLUSIVE MODE"):
        until(blocked)
        tell()
        tell()  # by now the first has ended for good
    Project.objects.filter(pk=project.pk).update(confidence_threshold=0.99, revision=F("revision") + 1)
    end = time.monotonic() + WITHIN
    while (last := tell())["threshold"] != 0.99:
        assert time.monotonic() < end, "the change was never seen"
    assert (len(first["watchers"]), last["failures"]) == (1, 0)
    assert last["watchers"] == first["watchers"]


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + WITHIN
    while not true():
        assert time.monotonic() < end, "it never came there"
        time.sleep(0.02)
