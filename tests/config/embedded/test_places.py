"""Addresses are plain values; folders are private, and nothing above them changes."""

import os
import stat
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import environ
import psycopg.conninfo
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.url import url_to_parts

from config import embedded
from config.embedded.places import REPOSITORY, places
from tests.config.embedded.conftest import Home, User

_LONGEST_SOCKET_PATH = 100


@pytest.fixture
def far_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that does not exist yet, whose name needs quoting in a URL and in a shell."""
    path = tmp_path / "a $(clone) of 100% & more" / ".enso"
    monkeypatch.setenv("ENSO_HOME", str(path))
    return path


def test_addresses_start_nothing_and_create_nothing(far_away: Path) -> None:
    assert embedded.database_url() == embedded.database_url()
    assert embedded.redis_url(1) != embedded.redis_url(2)
    assert [server.pid for server in embedded.status()] == [None, None]
    embedded.stop()
    assert not far_away.parent.exists()


def test_the_home_is_in_the_clone_unless_the_environment_says_otherwise(
    far_away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert embedded.home() == far_away
    monkeypatch.delenv("ENSO_HOME")
    assert embedded.home() == REPOSITORY / ".enso"


def test_two_homes_have_two_addresses(far_away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embedded.database_url()
    monkeypatch.setenv("ENSO_HOME", str(far_away.parent / "other"))
    assert embedded.database_url() != first


def test_the_address_does_not_depend_on_the_session(far_away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = embedded.database_url(), embedded.redis_url()
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    assert (embedded.database_url(), embedded.redis_url()) == address


@given(name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_socket_paths_stay_under_a_hundred_bytes_wherever_the_clone_lies(name: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENSO_HOME", f"/{name}" * 10)
        assert all(len(os.fsencode(server.address)) < _LONGEST_SOCKET_PATH for server in embedded.status())


def test_every_reader_of_the_database_url_finds_the_same_server(far_away: Path) -> None:
    sockets = str(places().sockets)
    libpq = psycopg.conninfo.conninfo_to_dict(embedded.database_url())
    assert libpq == {"user": "enso", "dbname": "enso", "host": sockets, "port": "5432"}
    django = environ.Env.db_url_config(embedded.database_url())
    assert (django["USER"], django["NAME"], django["OPTIONS"]["host"]) == ("enso", "enso", sockets)
    assert embedded.database_settings()["HOST"] == sockets


def test_every_reader_of_the_redis_urls_finds_the_same_server(far_away: Path) -> None:
    cache = urllib.parse.urlsplit(embedded.redis_url(4))
    broker = url_to_parts(embedded.celery_broker_url(4))
    assert (cache.scheme, cache.path, cache.query) == ("unix", str(places().redis_socket), "db=4")
    assert f"/{broker.path}" == cache.path
    assert broker.query == {"virtual_host": "4"}


@pytest.mark.processes
def test_starting_changes_no_mode_above_the_servers_folders(made_home: Home, new_user: Callable[[], User]) -> None:
    new_user().wait_acquired()
    assert {folder: folder.stat().st_mode for folder in made_home.modes_above} == made_home.modes_above


@pytest.mark.processes
def test_data_and_sockets_are_private_to_the_account_of_the_servers(new_user: Callable[[], User]) -> None:
    new_user().wait_acquired()
    where = places()
    folders = [where.state, where.postgres_data, where.redis_data, where.logs, where.sockets]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    owners = {folder.stat().st_uid for folder in folders}
    assert len(owners) == 1
    assert owners != {0}
    assert not where.sockets.stat().st_mode & 0o077


@pytest.mark.processes
def test_the_servers_run_as_the_owner_of_their_data(new_user: Callable[[], User]) -> None:
    new_user().wait_acquired()
    owner = places().state.stat().st_uid
    assert {Path(f"/proc/{server.pid}").stat().st_uid for server in embedded.status()} == {owner}
