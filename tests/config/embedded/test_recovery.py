"""After kill -9 of an owner or of the servers the next user finds everything that was acknowledged."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from config import embedded
from config.embedded.processes import alive, wait_until
from tests.config.embedded.conftest import User

pytestmark = pytest.mark.processes

NewUser = Callable[..., User]
Pids = Callable[[], list[int | None]]


def _kill_servers() -> list[int]:
    killed = [server.pid for server in embedded.status() if server.pid]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not any(alive(pid) for pid in killed), seconds=30)
    return killed


def _write(value: int) -> None:
    with psycopg.connect(embedded.database_url()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("INSERT INTO kept VALUES (%s)", [value])
    with Redis.from_url(embedded.redis_url()) as client:
        client.rpush("kept", value)


def _read() -> tuple[list[int], list[int]]:
    with psycopg.connect(embedded.database_url()) as connection:
        rows = [row[0] for row in connection.execute("SELECT value FROM kept")]
    with Redis.from_url(embedded.redis_url()) as client:
        return rows, [int(value) for value in client.lrange("kept", 0, -1)]


@pytest.fixture(autouse=True)
def _empty(new_user: NewUser) -> None:
    user = new_user().wait_acquired()
    with psycopg.connect(embedded.database_url()) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
    with Redis.from_url(embedded.redis_url()) as client:
        client.delete("kept")
    user.finish()


def test_servers_that_a_killed_owner_left_behind_are_reused_and_then_stopped(new_user: NewUser, pids: Pids) -> None:
    owner = new_user().wait_acquired()
    running = pids()
    owner.kill()
    assert pids() == running
    successor = new_user().wait_acquired()
    assert pids() == running
    successor.finish()
    assert pids() == [None, None]


def test_a_killed_user_does_not_keep_the_servers_from_stopping(new_user: NewUser, pids: Pids) -> None:
    first, second = new_user().wait_acquired(), new_user().wait_acquired()
    first.kill()
    second.finish()
    assert pids() == [None, None]


def test_what_was_acknowledged_survives_kill_9_of_the_servers(new_user: NewUser) -> None:
    new_user().wait_acquired()
    for value in range(50):
        _write(value)
    killed = _kill_servers()
    new_user().wait_acquired()
    assert _read() == (list(range(50)), list(range(50)))
    assert not set(killed) & {server.pid for server in embedded.status()}


def test_killed_servers_start_again_within_the_process_that_used_them(new_user: NewUser, pids: Pids) -> None:
    user = new_user().wait_acquired()
    _kill_servers()
    user.do("embedded.acquire()")
    assert None not in pids()


def test_a_pid_file_that_names_a_stranger_does_not_stop_the_start(new_user: NewUser, pids: Pids) -> None:
    """As after a reboot, when the old process id belongs to some other program of the same account."""
    new_user().wait_acquired()
    pid_files = [path for server in embedded.status() for path in server.data.glob("*.pid")]
    _kill_servers()
    stranger = new_user("deaf").process.pid
    for path in pid_files:
        _rewrite_first_line(path, stranger)
    new_user().wait_acquired()
    assert None not in pids()
    assert stranger not in pids()


def test_no_second_server_touches_the_data_while_orphans_of_a_killed_one_do(new_user: NewUser) -> None:
    new_user().wait_acquired()
    postmaster = embedded.status()[0].pid
    assert postmaster
    orphan = psycopg.connect(embedded.database_url(), autocommit=True)
    os.kill(orphan.info.backend_pid, signal.SIGSTOP)
    try:
        os.kill(postmaster, signal.SIGKILL)
        assert wait_until(lambda: not alive(postmaster), seconds=30)
        successor = new_user()
        assert not wait_until(lambda: bool(embedded.status()[0].pid), seconds=0.5)
    finally:
        os.kill(orphan.info.backend_pid, signal.SIGCONT)
    successor.wait_acquired()
    with pytest.raises(psycopg.OperationalError):
        orphan.execute("SELECT 1")


def test_an_interrupted_making_of_the_cluster_is_cleared_away(new_user: NewUser, pids: Pids) -> None:
    data = embedded.status()[0].data
    aside, half = data.with_name("aside"), data.with_name("postgres-unfinished-1")
    data.rename(aside)
    half.mkdir(mode=0o700)
    (half / "PG_VERSION").write_text("18\n")
    try:
        new_user().wait_acquired()
        assert None not in pids()
        assert not half.exists()
    finally:
        embedded.stop()
        _replace(aside, data)


def test_servers_of_a_clone_that_was_moved_while_they_ran_are_replaced(
    new_user: NewUser, pids: Pids, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root's data lies outside the clone and does not move with it")
    before = embedded.home()
    new_user().wait_acquired().kill()
    _write(1)
    running = pids()
    moved = before.rename(tmp_path / "moved")
    monkeypatch.setenv("ENSO_HOME", str(moved))
    try:
        new_user().wait_acquired()
        assert None not in pids()
        assert not set(pids()) & set(running)
        assert _read() == ([1], [1])
    finally:
        embedded.stop()
        moved.rename(before)


def _rewrite_first_line(path: Path, pid: int) -> None:
    rest = path.read_text().splitlines()[1:]
    path.write_text("\n".join([str(pid), *rest]) + "\n")


def _replace(kept: Path, path: Path) -> None:
    path.rename(path.with_name("discarded"))
    kept.rename(path)
