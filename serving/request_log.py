"""The log of API requests: who asked what when, how it was answered, by which version and how fast. Never what it said.

It lies in PostgreSQL, a partition per day, so that what is too old goes by dropping a table (docs/decisions/0083). A request
leaves one tuple in memory; a thread copies what has gathered once a second. So an answer never waits for its log line, and a
log that cannot be written (the disk is full, the database is away) loses lines, which are counted, and no answer.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import Error, connection, transaction
from psycopg.errors import CheckViolation

from feedback.metric_files import count
from feedback.metrics import declare

log = logging.getLogger(__name__)
TABLE = "serving_requestlog"
COLUMNS = ("at", "request_id", "endpoint", "method", "status", "ms", "project_id", "model", "step", "decision")
AHEAD_DAYS = 7
EVERY_SECONDS = 1.0
MOST_WAITING = 20_000
LOCK_TIMEOUT = "2s"
LOST = declare("counter", "enso_request_log_lost", "Lines of the request log that could not be written.")


@dataclass(frozen=True)
class Answered:
    """What answered a request of the hot paths; of many texts the last."""

    project_id: int
    model: str
    step: str
    decision: str


Line = tuple[datetime, str, str, str, int, float, int | None, str, str, str]
_answered: ContextVar[Answered | None] = ContextVar("enso_answered", default=None)
_waiting: deque[Line] = deque()
_writer: list[threading.Thread] = []
_starting = threading.Lock()


def note(answered: Answered | None) -> None:
    """Said by whoever decides, for the line of the request that is under way; None begins a new one."""
    _answered.set(answered)


def add(*, request_id: str, endpoint: str, method: str, status: int, seconds: float) -> None:
    """A line for the log. Where it gathers faster than it can be written, the newest are lost, and counted."""
    if len(_waiting) >= MOST_WAITING:
        count(LOST)
        return
    by = _answered.get()
    what = (by.project_id, by.model, by.step, by.decision) if by else (None, "", "", "")
    _waiting.append((datetime.now(UTC), request_id, endpoint[:60], method, status, round(1000 * seconds, 3), *what))
    if not _writer:
        _start()


def _start() -> None:
    with _starting:
        if not _writer:
            _writer.append(threading.Thread(target=_write_always, name="request-log", daemon=True))
            _writer[0].start()


def _write_always() -> None:
    pause = threading.Event()
    while not pause.wait(EVERY_SECONDS):
        write()


def write() -> int:
    """Copy what waits; returns how many lines were written."""
    lines = [_waiting.popleft() for _ in range(len(_waiting))]
    if not lines:
        return 0
    try:
        _written(lines)
    except Error as error:
        log.warning("%s lines of the request log are lost: %s", len(lines), type(error).__name__)
        count(LOST, (), len(lines))
        return 0
    finally:
        if not connection.in_atomic_block:
            connection.close()  # back to the pool: requests need it more
    return len(lines)


def _written(lines: Sequence[Line]) -> None:
    try:
        _copy(lines)
    except Error as error:
        # A day that has no partition yet: beat was away. Whoever needs it makes it.
        if not isinstance(error.__cause__, CheckViolation):
            raise
        make_partitions({line[0].date() for line in lines})
        _copy(lines)


def _copy(lines: Sequence[Line]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        statement = f"COPY {TABLE} ({', '.join(COLUMNS)}) FROM STDIN"
        with connection.wrap_database_errors, cursor.cursor.copy(statement) as copy:
            for line in lines:
                copy.write_row(line)


def partition(day: date) -> str:
    """
    >>> partition(date(2026, 1, 31))
    'serving_requestlog_p20260131'
    """
    return f"{TABLE}_p{day:%Y%m%d}"


def make_partitions(days: set[date]) -> None:
    """Make the tables of these days where they are not there. Short locks, so that no writer waits long."""
    for day in sorted(days):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {partition(day)} PARTITION OF {TABLE} "
                f"FOR VALUES FROM ('{day}T00:00:00Z') TO ('{day + timedelta(days=1)}T00:00:00Z')"
            )


def days() -> list[date]:
    """Days that have a partition, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT right(c.relname, 8) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = %s::regclass ORDER BY 1",
            [TABLE],
        )
        return [datetime.strptime(name, "%Y%m%d").replace(tzinfo=UTC).date() for (name,) in cursor.fetchall()]


def keep(today: date) -> dict[str, Any]:
    """Beat's share: partitions for the days to come, and none older than ENSO_REQUEST_LOG_DAYS."""
    known = days()
    wanted = {today + timedelta(days=n) for n in range(AHEAD_DAYS + 1)} - set(known)
    make_partitions(wanted)
    old = [day for day in known if day < today - timedelta(days=settings.ENSO_REQUEST_LOG_DAYS)]
    for day in old:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            cursor.execute(f"DROP TABLE IF EXISTS {partition(day)}")
    return {"made": len(wanted), "dropped": len(old)}
