"""Processes that a test may kill: real ones, forked from one that has loaded Django and torch already.

To start a Python with everything costs more than what the tests want to see of it. So one server process loads it once,
without a connection or a thread of its own, and each process that is to be killed is a fork of that.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from tests.databases import url

SMALL = 64  # random features: as exact as any, at a fraction of the time


def make_heads_small(setattr_: Any = setattr) -> None:
    """Heads of few features and without the pool's stack."""
    from learning import fitting

    setattr_(fitting, "train_heads", partial(fitting.train_heads, random_features=SMALL))
    setattr_(fitting, "MOST_STACKED", 0)


def stopping(train_heads: Callable[..., Any], stage: str) -> Callable[..., Any]:
    """A training that says that it has come to this stage, and goes no further."""

    def train(*arguments: Any, progress: Callable[[float, str], None], **options: Any) -> Any:
        def told(share: float, what: str) -> None:
            progress(share, what)
            if what.startswith(stage):
                signal.pause()

        return train_heads(*arguments, progress=told, **options)

    return train


def _command(artifacts: str, arguments: tuple[str, ...], stop_at: str) -> None:
    from learning import fitting

    settings.ENSO_ARTIFACTS = artifacts
    make_heads_small()
    if stop_at:
        fitting.train_heads = stopping(fitting.train_heads, stop_at)
    call_command(*arguments)


@contextmanager
def process(*arguments: str, stop_at: str = "") -> Iterator[BaseProcess]:
    """``manage.py ARGUMENTS`` on this test's database and artifacts; it is killed at the end, wherever it is.

    A training waits for that at the stage ``stop_at``.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    os.environ["DATABASE_URL"], before = url(), os.environ.get("DATABASE_URL")  # read when the server starts
    try:
        given = (str(settings.ENSO_ARTIFACTS), arguments, stop_at)
        child = context.Process(target=_command, args=given, daemon=True)
        child.start()
    finally:
        os.environ.pop("DATABASE_URL") if before is None else os.environ.update(DATABASE_URL=before)
    try:
        yield child
    finally:
        child.kill()
        child.join()


def until(true: Callable[[], object], child: BaseProcess) -> None:
    end = time.monotonic() + 90
    while not true():
        assert child.is_alive(), f"the process ended by itself: {child.exitcode}"
        assert time.monotonic() < end, "it never came there"
        time.sleep(0.02)


def given_up() -> Any:
    """The sweeper's part, without the wait: the heartbeat has stopped."""
    from feedback import jobs
    from feedback.models import Job, JobState

    Job.objects.filter(state=JobState.RUNNING).update(heartbeat_at=timezone.now() - 2 * jobs.LOST_AFTER)
    jobs.sweep()
    return Job.objects.get(kind="train", state=JobState.FAILED)


if multiprocessing.current_process().name == "MainProcess" and not settings.configured:  # the server that is forked
    django.setup()
    import learning.owner
    import learning.pipelines  # noqa: F401
