"""Using the embedded servers: start them for the first user, stop them with the last."""

import atexit
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from config.embedded import users
from config.embedded.account import server_account
from config.embedded.errors import ServerError, explained
from config.embedded.folders import make_home, prepare
from config.embedded.places import REPOSITORY, Places, places
from config.embedded.postgres import Postgres
from config.embedded.programs import programs
from config.embedded.redis_server import RedisServer

_KEPT = "kept"  # its presence: started by hand, so the last user leaves them running
_one_thread = threading.RLock()
_acquired: set[Places] = set()


@dataclass(frozen=True)
class Status:
    """One server as `python -m config.embedded status` shows it; `pid` is None when it is not running."""

    name: str
    pid: int | None
    address: str
    data: Path
    log: Path


def acquire(*, postgres: bool = True, redis: bool = True) -> None:
    """Make sure that the servers run, and keep them running until this process releases them or dies.

    Safe in any number of processes and threads at once; a second call only starts what has stopped meanwhile. Where one
    server is named by URL, say `postgres=False` or `redis=False`. Raises ServerError with one sentence for a person.
    """
    with _changing(places()) as where:
        try:
            _start(where, postgres=postgres, redis=redis)
        except BaseException:
            _stop_unless_needed(where)
            raise
        users.join(where.locks)
        _acquired.add(where)


def release() -> None:
    """Stop using the servers; the last user stops them, in an orderly way. Runs by itself at the end of the process."""
    for where in list(_acquired):
        _acquired.discard(where)
        if where.locks in users.joined():  # not in a forked child, which uses them through its parent
            with _changing(where):
                users.leave(where.locks)
                _stop_unless_needed(where)


def start() -> None:
    """Start the servers and leave them running, whoever comes and goes, until `stop`."""
    with _changing(places()) as where:
        _start(where, postgres=True, redis=True)
        (where.locks / _KEPT).touch()


def stop() -> None:
    """Stop the servers even if somebody uses them; does nothing when they are not running."""
    where = places()
    if where.locks.is_dir():
        with _changing(where):
            _stop(where)


def reset() -> None:
    """Stop the servers and delete everything that this home keeps, the databases included.

    Raises ServerError, and deletes nothing, where the home holds the clone, the user's own folder or the present one.
    """
    where = places()
    if any(where.home in (kept, *kept.parents) for kept in (REPOSITORY, Path.home(), Path.cwd())):
        raise ServerError(f"{where.home} holds more than Enso's data: delete by hand what you want gone.")
    stop()
    with explained(where.home):
        for folder in (where.sockets, where.state, where.home):
            if folder.exists():
                shutil.rmtree(folder)


def status() -> list[Status]:
    """Both servers of this home, running or not."""
    where = places()
    with explained(where.home):
        return [Status(it.name, it.pid(), it.address, it.data, it.log) for it in (Postgres(where), RedisServer(where))]


@contextmanager
def _changing(where: Places) -> Iterator[Places]:
    with _one_thread, explained(where.home):
        make_home(where)
        with users.sole_change(where.locks):
            yield where


def _start(where: Places, *, postgres: bool, redis: bool) -> None:
    account = server_account(where)
    prepare(where, account)
    found = programs(where, account)
    if postgres:
        Postgres(where).ensure_running(account, found.postgres)
    if redis:
        RedisServer(where).ensure_running(account, found.redis)


def _stop_unless_needed(where: Places) -> None:
    if not users.in_use(where.locks) and not (where.locks / _KEPT).exists():
        _stop(where)


def _stop(where: Places) -> None:
    (where.locks / _KEPT).unlink(missing_ok=True)
    RedisServer(where).stop()
    Postgres(where).stop()
    with suppress(OSError):  # not there, or something of a person's in it
        where.sockets.rmdir()


def _renew_thread_lock() -> None:
    global _one_thread  # a forked child must not inherit a lock that another thread held
    _one_thread = threading.RLock()


def _release_at_exit() -> None:
    try:
        release()
    except ServerError as error:
        sys.stderr.write(f"{error}\n")


os.register_at_fork(after_in_child=_renew_thread_lock)
atexit.register(_release_at_exit)
