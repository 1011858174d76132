"""Starting, finding and ending server processes that outlive the process that started them."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from config.embedded.account import Account

_PROC = Path("/proc")
_POLL_S = 0.02
# The program becomes a child of init: it is in nobody's foreground group, and nobody but init has to reap it.
_DETACH = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'
# Nothing of the caller's environment reaches a server: no PGDATA, PGOPTIONS or LD_LIBRARY_PATH, no secrets.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"}


def run(command: Sequence[str], *, account: Account, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program of the servers to its end as `account`, with `text` as its input; output and errors are joined."""
    return subprocess.run(  # noqa: S603 - programs of the wheels, arguments of this package
        command,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        cwd="/",
        env=_ENVIRONMENT,
        umask=0o077,
        check=False,
        **account.spawn_options,
    )


def launch(command: Sequence[str], *, account: Account, log: Path) -> int:
    """Start a program in a session of its own, its output appended to `log`; returns its process id."""
    started = subprocess.run(  # noqa: S603 - programs of the wheels, arguments of this package
        ["/bin/sh", "-c", _DETACH, "sh", str(log), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd="/",
        env=_ENVIRONMENT,
        umask=0o077,
        check=True,
        start_new_session=True,
        **account.spawn_options,
    )
    return int(started.stdout)


def alive(pid: int) -> bool:
    """Whether process `pid` runs; one that has ended and only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return not _PROC.is_dir() or (_PROC / str(pid)).exists()
    return state not in {"Z", "X"}


def is_running(pid: int, mark: str) -> bool:
    """Whether `pid` is a live process whose command line holds `mark`: ids are reused, above all after a reboot."""
    return alive(pid) and mark in _command_line(pid)


def works_in(pid: int, folder: Path) -> bool:
    """Whether the working directory of `pid` is `folder`, wherever that has been moved; False where nobody may ask."""
    try:
        return (_PROC / str(pid) / "cwd").samefile(folder)
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Poll `condition` until it holds or `seconds` have passed; returns whether it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return condition()
        time.sleep(_POLL_S)
    return True


def end(pid: int, *signals: signal.Signals, seconds: float) -> bool:
    """Send `pid` each of `signals` in turn, waiting up to `seconds` after each; returns whether it ended."""
    for number in signals:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return True
        if wait_until(lambda: not alive(pid), seconds=seconds):
            return True
    return False


def _command_line(pid: int) -> str:
    try:
        return os.fsdecode((_PROC / str(pid) / "cmdline").read_bytes()).replace("\0", " ")
    except OSError:
        return _command_line_by_ps(pid)


def _command_line_by_ps(pid: int) -> str:
    command = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    try:
        shown = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - a fixed program and a number
    except OSError:
        return ""
    return os.fsdecode(shown.stdout)
