"""Who uses the servers, kept by the operating system so that the count is never stale.

Each user holds a shared lock on one file; whoever then gets the lock exclusively is the last one. The kernel drops a
lock when its holder dies, by whatever signal. Every change (starting, joining, leaving, stopping) happens under a
second, exclusive lock.

flock belongs to the open file, which a forked child shares: a child closes its copies at once, and a program started by
`exec` never sees them. A child that needs the servers for itself calls `embedded.acquire()` like everybody else.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_open: set[int] = set()
_joined: dict[Path, int] = {}


@contextmanager
def sole_change(locks: Path) -> Iterator[None]:
    """Hold the right to change the servers' state, waiting for whoever has it."""
    lock = _open_file(locks / "change")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        _unlock(lock)


def join(locks: Path) -> None:
    """Make this process a user until `leave` or its death; call under `sole_change`. Joining twice is joining once."""
    if locks not in _joined:
        lock = _open_file(locks / "users")
        fcntl.flock(lock, fcntl.LOCK_SH)
        _joined[locks] = lock


def leave(locks: Path) -> None:
    """Stop being a user; does nothing where this process is none. Call under `sole_change`."""
    lock = _joined.pop(locks, None)
    if lock is not None:
        _unlock(lock)


def joined() -> list[Path]:
    """The lock folders of which this process is a user."""
    return list(_joined)


def in_use(locks: Path) -> bool:
    """Whether any process is a user."""
    lock = _open_file(locks / "users")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        _unlock(lock)
    return False


def _open_file(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    _open.add(lock)
    return lock


def _unlock(lock: int) -> None:
    """Give the lock up even if a child that was forked just now has not yet closed its copy."""
    fcntl.flock(lock, fcntl.LOCK_UN)
    _close(lock)


def _close(lock: int) -> None:
    _open.discard(lock)
    os.close(lock)


def _forget() -> None:
    for lock in list(_open):
        _close(lock)
    _joined.clear()


os.register_at_fork(after_in_child=_forget)
