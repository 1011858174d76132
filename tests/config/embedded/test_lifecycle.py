"""Servers come with their first user, are shared, and go with the last."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest
from redis import Redis

from config import embedded
from config.embedded.account import server_account
from config.embedded.folders import prepare
from config.embedded.places import places
from config.embedded.processes import alive
from config.embedded.programs import programs
from config.embedded.redis_server import RedisServer
from tests.config.embedded.conftest import Home, User

pytestmark = pytest.mark.processes

NewUser = Callable[..., User]
Pids = Callable[[], list[int | None]]
STOPPED = [None, None]

_CHURN = """
import psycopg
from config import embedded
for _ in range(4):
    embedded.acquire()
    with psycopg.connect(embedded.database_url()) as connection:
        connection.execute("SELECT 1")
    embedded.release()
"""


def test_the_servers_start_with_the_first_user_and_stop_with_the_last(new_user: NewUser, pids: Pids) -> None:
    first, second = new_user().wait_acquired(), new_user().wait_acquired()
    assert None not in pids()
    assert first.finish() == 0
    assert None not in pids()
    assert second.finish() == 0
    assert pids() == STOPPED


def test_a_later_user_reuses_the_running_servers(new_user: NewUser, pids: Pids) -> None:
    new_user().wait_acquired()
    running = pids()
    new_user().wait_acquired()
    assert pids() == running


def test_five_processes_at_once_share_one_pair_of_servers(new_user: NewUser, pids: Pids) -> None:
    users = [new_user() for _ in range(5)]
    seen = [user.wait_acquired() and pids() for user in users]
    assert None not in seen[0]
    assert all(pair == seen[0] for pair in seen)
    assert [user.finish() for user in users] == [0] * 5
    assert pids() == STOPPED


def test_no_user_loses_the_servers_while_others_come_and_go(home: Home, pids: Pids) -> None:
    churning = [subprocess.Popen([sys.executable, "-c", _CHURN]) for _ in range(4)]
    assert [process.wait(120) for process in churning] == [0] * 4
    assert pids() == STOPPED


def test_both_servers_answer_under_their_addresses(new_user: NewUser) -> None:
    new_user().wait_acquired()
    with psycopg.connect(embedded.database_url()) as connection:
        row = connection.execute("SELECT current_user, current_database(), current_setting('fsync')").fetchone()
    assert row == ("enso", "enso", "on")
    with Redis.from_url(embedded.redis_url(3)) as client:
        wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "port": "0"}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted


def test_the_database_orders_text_by_code_point_and_knows_every_letter(new_user: NewUser) -> None:
    new_user().wait_acquired()
    with psycopg.connect(embedded.database_url()) as connection:
        assert connection.execute("SELECT lower('ÀÉΣ'), 'b' < 'á', 'Z' < 'a'").fetchone() == ("àéσ", True, True)
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)


def test_the_role_makes_databases_and_is_no_superuser(new_user: NewUser) -> None:
    new_user().wait_acquired()
    with psycopg.connect(embedded.database_url()) as connection:
        row = connection.execute("SELECT rolcreatedb, rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    assert row == (True, False)


@pytest.mark.parametrize(
    "birth",
    ["subprocess.Popen(['sleep', '600']).pid", "os.fork() or os._exit(signal.pause() or 0)"],
    ids=["exec", "fork"],
)
def test_a_child_process_does_not_keep_its_parents_place(new_user: NewUser, pids: Pids, birth: str) -> None:
    user = new_user().wait_acquired()
    child = int(user.do(birth))
    try:
        user.finish()
        assert alive(child)
        assert pids() == STOPPED
    finally:
        os.kill(child, signal.SIGKILL)


def test_ctrl_c_in_the_terminal_does_not_reach_the_servers(new_user: NewUser, pids: Pids) -> None:
    user = new_user("deaf").wait_acquired()
    running = pids()
    user.interrupt_group()
    assert user.do("1") == "1"
    assert pids() == running


def test_an_interrupted_user_still_stops_the_servers(new_user: NewUser, pids: Pids) -> None:
    user = new_user().wait_acquired()
    user.interrupt_group()
    user.process.wait(60)
    assert pids() == STOPPED


def test_servers_started_by_hand_stay_until_stopped_by_hand(new_user: NewUser, pids: Pids) -> None:
    embedded.start()
    running = pids()
    new_user().wait_acquired().finish()
    assert pids() == running
    embedded.stop()
    assert pids() == STOPPED


def test_stopping_cuts_users_off_and_acquiring_again_starts_anew(new_user: NewUser, pids: Pids) -> None:
    user = new_user().wait_acquired()
    embedded.stop()
    assert pids() == STOPPED
    user.do("embedded.acquire()")
    assert None not in pids()


def test_only_the_wanted_server_starts(new_user: NewUser, pids: Pids) -> None:
    new_user().wait_acquired().do("embedded.release() or embedded.acquire(postgres=False)")
    postgres, redis = pids()
    assert postgres is None
    assert redis is not None


@pytest.mark.parametrize("action", ["start", "stop", "status"])
def test_the_command_line_shows_both_servers(home: Home, action: str) -> None:
    command = [sys.executable, "-m", "config.embedded", action]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout
    assert [line.split()[0] for line in shown.splitlines()] == ["PostgreSQL", "Redis"]
    assert shown.count("running" if action == "start" else "stopped") == 2


def test_a_server_is_known_as_ours_however_long_the_path_of_its_program(home: Home, pids: Pids) -> None:
    where = places()
    account = server_account(where)
    prepare(where, account)
    far = where.state / ("far-" * 60)
    far.mkdir()
    shutil.copy(programs(where, account).redis / "redis-server", far)
    RedisServer(where).ensure_running(account, far)
    assert pids()[1] is not None
