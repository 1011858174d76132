"""Long jobs: the row in PostgreSQL is the truth, a Celery message is only a wake-up.

A worker that receives a message claims the row by compare-and-set and gets a fencing token; every later write checks
the token, so that a worker that was given up for dead cannot write over its successor. A sweeper re-sends jobs that
were never started (their message was lost) and takes back those whose heartbeat stopped; after `MAX_ATTEMPTS` a job is
dead with its reasons. Handlers resume from `job.checkpoint`.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, close_old_connections, connection, transaction
from django.db.models import F, Q, Value
from django.db.models.functions import Now
from django.utils import timezone

from feedback import logs
from feedback.models import Job, JobState

log = logging.getLogger(__name__)
MAX_ATTEMPTS = 3
HEARTBEAT_SECONDS = 3.0
LOST_AFTER = timedelta(seconds=15)
LEAST_PROGRESS = 0.05  # below, the time that a job still takes is a guess
RESEND_AFTER = timedelta(seconds=20)
UNFINISHED = (JobState.QUEUED, JobState.RUNNING, JobState.FAILED)


class Fenced(Exception):
    """Another attempt owns this job now: stop without writing anything."""


class Cancelled(Exception):
    """Somebody asked this job to stop."""


@dataclass(frozen=True)
class Kind:
    """How one kind of job is run: its handler and the queue that it waits in."""

    handler: Callable[[Running], dict[str, Any]]
    queue: str


_kinds: dict[str, Kind] = {}


def handler(kind: str, *, queue: str = "io") -> Callable[[Callable[[Running], dict[str, Any]]], Callable[..., Any]]:
    """Register the function that runs jobs of `kind`; what it returns is stored as the job's result."""

    def register(function: Callable[[Running], dict[str, Any]]) -> Callable[..., Any]:
        _kinds[kind] = Kind(function, queue)
        return function

    return register


def enqueue(*, kind: str, project_id: int, params: dict[str, Any] | None = None, exclusive: bool = True) -> Job:
    """Ask for a job. An exclusive one that is already waiting is returned; one that runs is run once more when it ends."""
    key = f"{kind}:{project_id}" if exclusive else None
    for _ in range(5):
        try:
            with transaction.atomic():
                job = Job.objects.create(
                    kind=kind,
                    project_id=project_id,
                    params=params or {},
                    exclusive_key=key,
                    request_id=logs.current_request(),
                )
        except IntegrityError:
            if waiting := _join(key):
                return waiting
            continue  # it ended between the insert and the look: try again
        transaction.on_commit(functools.partial(_send, job))
        return job
    raise RuntimeError(f"could not enqueue {kind}: its exclusive key is contended")


def last_begun(*, project_id: int, kind: str) -> datetime | None:
    """When the latest job of a kind began that did not fail: what came since has not been looked at."""
    begun = Job.objects.filter(project_id=project_id, kind=kind, started_at__isnull=False)
    last = begun.exclude(state=JobState.FAILED).order_by("-started_at").first()
    return last.started_at if last else None


def _join(key: str | None) -> Job | None:
    Job.objects.filter(exclusive_key=key, state=JobState.RUNNING).update(again=True)
    return Job.objects.filter(exclusive_key=key, state__in=UNFINISHED).first()


def _send(job: Job) -> None:
    from feedback.tasks import run_job, send_quietly

    Job.objects.filter(pk=job.pk).update(sent_at=Now())
    send_quietly(run_job, job.pk, queue=_kinds[job.kind].queue if job.kind in _kinds else "io")


class Running:
    """A claimed job in the hands of its handler: every write carries the fencing token."""

    def __init__(self, job: Job, token: uuid.UUID) -> None:
        self.job, self.token = job, token
        self.lost = threading.Event()

    def _mine(self) -> Any:
        return Job.objects.filter(pk=self.job.pk, token=self.token, state=JobState.RUNNING)

    def report(self, progress: float, stage: str) -> None:
        """Show progress (0–1) and stage, and stop here when the job was taken over or cancelled."""
        share = min(max(progress, 0.0), 1.0)
        if not self._mine().update(progress=share, stage=stage[:120], heartbeat_at=Now()):
            raise Fenced(f"job {self.job.pk} has another owner")
        if Job.objects.filter(pk=self.job.pk, cancel_requested=True).exists():
            raise Cancelled

    def save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what a later attempt resumes from."""
        if not self._mine().update(checkpoint=checkpoint, heartbeat_at=Now()):
            raise Fenced(f"job {self.job.pk} has another owner")
        self.job.checkpoint = checkpoint

    def hold(self) -> None:
        """Inside a transaction: lock the row and make sure that it is still ours, so that what follows is fenced."""
        if not self._mine().select_for_update().exists():
            raise Fenced(f"job {self.job.pk} has another owner")

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Beat from a thread while a long numerical step keeps this one busy."""
        stop = threading.Event()

        def beat() -> None:
            try:
                while not stop.wait(HEARTBEAT_SECONDS):
                    close_old_connections()
                    if not self._mine().update(heartbeat_at=Now()):
                        self.lost.set()
                        return
            except Exception:
                log.exception("heartbeat of job %s stopped", self.job.pk)
            finally:
                connection.close()

        thread = threading.Thread(target=beat, name=f"heartbeat-{self.job.pk}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def claim(job_id: int) -> Running | None:
    """Take a waiting job, or None when it is not waiting (already claimed, done, cancelled)."""
    token = uuid.uuid4()
    waiting = Job.objects.filter(pk=job_id, state__in=[JobState.QUEUED, JobState.FAILED])
    taken = waiting.update(
        state=JobState.RUNNING,
        token=token,
        attempt=F("attempt") + 1,
        heartbeat_at=Now(),
        started_at=Now(),
        progress=0.0,
    )
    return Running(Job.objects.get(pk=job_id), token) if taken else None


def run(job_id: int) -> None:
    """Claim and run one job to its end, whatever that is."""
    running = claim(job_id)
    if running is not None:
        with logs.request(running.job.request_id, job=job_id):
            _run(running)


def _run(running: Running) -> None:
    job_id = running.job.pk
    kind = _kinds.get(running.job.kind)
    try:
        if kind is None:
            raise LookupError(f"no handler for jobs of kind {running.job.kind!r} in this worker")
        with running.heartbeat():
            result = kind.handler(running)
        _end(running, JobState.DONE, result=result, progress=1.0)
    except Fenced:
        log.warning("job %s was taken over; this attempt stops", job_id)
    except Cancelled:
        _end(running, JobState.CANCELLED)
    except Exception as error:
        log.exception("job %s failed", job_id)
        _fail(running, f"attempt {running.job.attempt}: {type(error).__name__}: {error}")


def run_to_end(job: Job) -> None:
    """Run a job here as often as it may be tried; where another process has it, wait for that one."""
    while job.state in UNFINISHED:
        run(job.pk)
        job.refresh_from_db()
        if job.state == JobState.RUNNING:
            time.sleep(0.2)


def _end(running: Running, state: JobState, **fields: Any) -> None:
    with transaction.atomic():
        running.hold()
        again = Job.objects.filter(pk=running.job.pk, again=True).exists()
        Job.objects.filter(pk=running.job.pk).update(state=state, finished_at=Now(), stage="", again=False, **fields)
        if again and state == JobState.DONE:
            enqueue(kind=running.job.kind, project_id=running.job.project_id, params=running.job.params)


def _fail(running: Running, reason: str) -> None:
    fail(running.job.pk, running.token, running.job.attempt, reason)


def fail(job_id: int, token: uuid.UUID | None, attempt: int, reason: str) -> None:
    """Record a failed attempt: the job waits for its next one, or is dead after the last."""
    state = JobState.DEAD if attempt >= MAX_ATTEMPTS else JobState.FAILED
    ended = Now() if state == JobState.DEAD else None
    errors = Job.objects.filter(pk=job_id, token=token, state=JobState.RUNNING).values_list("errors", flat=True).first()
    Job.objects.filter(pk=job_id, token=token, state=JobState.RUNNING).update(
        state=state, token=None, errors=[*(errors or []), reason[:2000]], finished_at=ended or Value(None)
    )


def cancel(job_id: int) -> bool:
    """Cancel a waiting job at once and a running one at its next report; False when it has already ended."""
    waiting = Job.objects.filter(pk=job_id, state__in=[JobState.QUEUED, JobState.FAILED])
    if waiting.update(state=JobState.CANCELLED, finished_at=Now()):
        return True
    return bool(Job.objects.filter(pk=job_id, state=JobState.RUNNING).update(cancel_requested=True))


def remaining(job: Job) -> timedelta | None:
    """How long a running job will still take if it goes on as fast as until now; None while there is too little to tell."""
    if job.state != JobState.RUNNING or job.started_at is None or job.progress < LEAST_PROGRESS:
        return None
    return (timezone.now() - job.started_at) * ((1.0 - job.progress) / job.progress)


def sweep() -> int:
    """Take back jobs whose heartbeat stopped and re-send those that nobody started; returns how many were re-sent."""
    now = timezone.now()
    for job in Job.objects.filter(state=JobState.RUNNING, heartbeat_at__lt=now - LOST_AFTER):
        fail(job.pk, job.token, job.attempt, f"attempt {job.attempt}: the worker stopped without a word")
    unsent = (
        Q(sent_at=None) | Q(sent_at__lt=now - RESEND_AFTER) | Q(state=JobState.FAILED, sent_at__lt=F("heartbeat_at"))
    )
    waiting = list(Job.objects.filter(unsent, state__in=[JobState.QUEUED, JobState.FAILED]).order_by("id")[:100])
    for job in waiting:
        _send(job)
    return len(waiting)
