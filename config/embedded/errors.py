"""What a person is told when a server cannot be started: one sentence that says what to do."""

import errno
import getpass
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL_TEXT = "No space left on device"
# What stands before the message in PostgreSQL's and in Redis's logs: time, zone or pid and role, level.
_LOG_PREFIX = re.compile(r"^(\d{4}-\d\d-\d\d [\d:.]+ \S+ \[\d+\]\s*|\d+:\w \d+ \w+ \d{4} [\d:.]+ [.\-*#]\s*)")
_TAIL_BYTES = 8_192


class ServerError(RuntimeError):
    """An embedded server could not be started, reached or stopped; the text is one sentence for a person."""


@contextmanager
def explained(where: Path) -> Iterator[None]:
    """Turn an error of the operating system about `where` (a file or folder) into a `ServerError`."""
    try:
        yield
    except OSError as error:
        raise ServerError(_sentence(error, where)) from error


def failed_start(name: str, log: Path, output: str = "") -> ServerError:
    """The error for a server that ended while it was starting, from its log's tail or from what it printed."""
    text = output.strip() or _tail(log)
    if _FULL_TEXT in text:
        return no_space(log.parent)
    return ServerError(f"{name} did not start: {_reason(text)} (its log is {log}).")


def no_space(where: Path) -> ServerError:
    """The error for a full disk."""
    return ServerError(f"No space is left on the disk that holds {where}: free some and start again.")


def _sentence(error: OSError, where: Path) -> str:
    place = Path(os.fsdecode(error.filename)) if error.filename else where
    if error.errno in _FULL:
        return str(no_space(place))
    if error.errno in _FORBIDDEN:
        return f"{_user()} may not use {place}: make it yours, or set ENSO_HOME to a folder of your own."
    return f"{place} cannot be used ({error.strerror}): set ENSO_HOME to another folder, or put this one right."


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without an entry in the user database
        return f"user {os.geteuid()}"


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _reason(text: str) -> str:
    """The last line that names a failure, or the last line at all."""
    lines = [_LOG_PREFIX.sub("", line).strip() for line in text.splitlines() if line.strip()]
    failures = [line for line in lines if re.search(r"^(FATAL|PANIC|initdb: error)|could not|can't", line)]
    reason = (failures or lines or ["it said nothing"])[-1]
    return " ".join(reason.split()).rstrip(".")
