"""What cannot be done is said in one sentence that names the place and the way out."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from config import embedded
from config.embedded import programs
from config.embedded.account import Account, server_account
from config.embedded.errors import ServerError, explained, failed_start
from config.embedded.places import places
from tests.config.embedded.conftest import Home


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "free some and start again"),
        (errno.EDQUOT, "free some and start again"),
        (errno.EACCES, "set ENSO_HOME to a folder of your own"),
        (errno.EROFS, "set ENSO_HOME to a folder of your own"),
        (errno.EIO, "set ENSO_HOME to another folder"),
    ],
)
def test_an_error_of_the_disk_names_the_place_and_the_way_out(code: int, advice: str) -> None:
    with pytest.raises(ServerError, match=advice) as caught, explained(Path("/srv/enso")):
        raise OSError(code, os.strerror(code), "/srv/enso/postgres")
    assert "/srv/enso/postgres" in str(caught.value)
    assert str(caught.value).count(". ") == 0


def test_a_failed_start_tells_the_logs_reason_without_its_prefix(tmp_path: Path) -> None:
    log = tmp_path / "postgres.log"
    log.write_text(
        "2026-11-20 15:33:58.864 UTC [7315] LOG:  starting PostgreSQL\n"
        '2026-11-20 15:33:58.871 UTC [7315] FATAL:  could not open file "x": Permission denied\n'
        "2026-11-20 15:33:58.891 UTC [7315] LOG:  database system is shut down\n"
    )
    assert str(failed_start("PostgreSQL", log)) == (
        f'PostgreSQL did not start: FATAL: could not open file "x": Permission denied (its log is {log}).'
    )


def test_a_full_disk_is_recognised_in_a_servers_log(tmp_path: Path) -> None:
    log = tmp_path / "redis.log"
    log.write_text("7582:M 20 Nov 2026 15:34:59.742 # Can't open the append-only file: No space left on device\n")
    assert "free some and start again" in str(failed_start("Redis", log))


def test_a_failed_start_without_a_log_is_still_a_sentence(tmp_path: Path) -> None:
    assert "it said nothing" in str(failed_start("Redis", tmp_path / "none.log"))


def test_a_machine_without_a_wheel_is_told_to_name_a_server() -> None:
    with pytest.raises(ServerError, match="set DATABASE_URL to a server"):
        programs._package("enso_no_such_wheel", "PostgreSQL", "DATABASE_URL")


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENSO_HOME", str(tmp_path / "file" / ".enso"))
    with pytest.raises(ServerError, match="set ENSO_HOME to another folder"):
        embedded.acquire()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_may_not_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("ENSO_HOME", str(tmp_path / ".enso"))
    with pytest.raises(ServerError, match=f"may not use {tmp_path}/.enso: make it yours"):
        embedded.acquire()


@pytest.mark.parametrize("planted", ["link", "file"])
def test_a_socket_folder_that_somebody_planted_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    monkeypatch.setenv("ENSO_HOME", str(tmp_path / ".enso"))
    where = places()
    where.sockets.parent.mkdir(parents=True, exist_ok=True)
    if planted == "link":
        where.sockets.symlink_to(tmp_path)
    else:
        where.sockets.touch()
    try:
        with pytest.raises(ServerError, match="belongs to somebody else"):
            embedded.acquire()
    finally:
        where.sockets.unlink()
        shutil.rmtree(where.state)


@pytest.mark.parametrize("place", ["clone", "above the clone", "own folder"])
def test_reset_never_deletes_more_than_a_home(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    clone = Path(__file__).resolve().parents[3]
    named = {"clone": clone, "above the clone": clone.parent, "own folder": Path.home()}[place]
    monkeypatch.setenv("ENSO_HOME", str(named))
    with pytest.raises(ServerError, match="delete by hand"):
        embedded.reset()
    assert clone.is_dir()


@pytest.mark.processes
@pytest.mark.parametrize("line", ["nonsense = on", "shared_buffers = 'many'"])
def test_a_server_that_refuses_its_settings_is_quoted(home: Home, line: str) -> None:
    settings = places().postgres_data / "postgresql.auto.conf"
    settings.write_text(f"{line}\n")
    try:
        with pytest.raises(ServerError, match=r"PostgreSQL did not start: .*log/postgres\.log"):
            embedded.start()
        assert [server.pid for server in embedded.status()] == [None, None]
    finally:
        settings.write_text("")


@pytest.mark.processes
def test_data_of_another_postgresql_is_not_touched(home: Home) -> None:
    version = places().postgres_data / "PG_VERSION"
    present = version.read_text()
    version.write_text("17\n")
    try:
        with pytest.raises(ServerError, match="was made by PostgreSQL 17"):
            embedded.start()
    finally:
        version.write_text(present)


@pytest.mark.processes
def test_the_command_line_says_the_sentence_and_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {**os.environ, "ENSO_HOME": str(tmp_path / "file")}
    command = [sys.executable, "-m", "config.embedded", "start"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert str(tmp_path) in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run under another account")
@pytest.mark.processes
def test_programs_that_the_account_cannot_reach_are_copied_and_run(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    where = places()
    account = server_account(where)
    monkeypatch.setattr(Account, "may_read", lambda self, path: False)
    copied = programs.programs(where, account)
    try:
        for program in (copied.postgres / "postgres", copied.postgres / "initdb", copied.redis / "redis-server"):
            assert where.programs in program.parents
            subprocess.run([program, "--version"], check=True, capture_output=True, **account.spawn_options)
        assert programs.programs(where, account) == copied
    finally:
        shutil.rmtree(where.programs)


def test_reach_is_judged_by_every_folder_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "closed" / "program"
    program.parent.mkdir()
    program.touch(mode=0o755)
    stranger = Account(uid=54_321, gid=54_321)
    reachable_above = all(folder.stat().st_mode & 0o001 for folder in tmp_path.parents)
    tmp_path.chmod(0o755)
    program.parent.chmod(0o755)
    assert stranger.may_read(program) == reachable_above
    program.parent.chmod(0o700)
    assert not stranger.may_read(program)
    assert Account(os.geteuid(), os.getegid()).may_read(program)
