"""Log lines without personal data, each with the request that it belongs to.

Messages and tracebacks are masked, and what a database quotes of a row is dropped. The id of a request (`X-Request-Id`) is
known to whatever is done for it: the request itself, the outbox events and jobs that it leaves behind, wherever they run,
and the webhook notices that come of them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog

from feedback.masking import mask

# PostgreSQL quotes the row that it refused ("Failing row contains (…)", "Key (…)=(…) already exists").
_QUOTED_ROW = re.compile(r"^(\s*(?:DETAIL|CONTEXT|HINT):).*$", re.MULTILINE)
_request: ContextVar[str] = ContextVar("enso_request", default="")
_job: ContextVar[int | None] = ContextVar("enso_job", default=None)
# What we write ourselves holds nobody's data, and must not be taken for a number of a phone or an order.
_OURS = frozenset({"timestamp", "level", "logger", "request_id", "trace_id"})


def current_request() -> str:
    """The id of the request that this is done for, or '' (nobody asked: beat, a command)."""
    return _request.get()


@contextmanager
def request(request_id: str, *, job: int | None = None) -> Iterator[None]:
    """What is done within is done for this request (and this job)."""
    before, before_job = _request.set(request_id), _job.set(job)
    try:
        yield
    finally:
        _request.reset(before)
        _job.reset(before_job)


class MaskedFormatter(logging.Formatter):
    """Lines for a terminal, which may be kept and sent elsewhere."""

    def format(self, record: logging.LogRecord) -> str:
        line = without_personal_data(super().format(record))
        return f"{line} request={current_request()}" if current_request() else line


def json_formatter() -> logging.Formatter:
    """One JSON object per line, whoever logs: our modules, Django, Celery, libraries."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _masked,
            _belonging,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )


def _masked(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str) and name not in _OURS:
            event[name] = without_personal_data(value)
    return event


def _belonging(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if current_request():
        event["request_id"] = current_request()
    if _job.get() is not None:
        event["job"] = _job.get()
    return event


def without_personal_data(line: str) -> str:
    """
    >>> without_personal_data("no mail to jo@example.com\\nDETAIL:  Key (text)=(secret) already exists.")
    'no mail to [email]\\nDETAIL: …'
    """
    return mask(_QUOTED_ROW.sub(r"\1 …", line)).text
