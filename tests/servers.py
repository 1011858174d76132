"""The servers of the suite: a pytest plugin (`-p tests.servers`) that runs before Django's settings are read.

Tests have a home of their own, so that a demo that runs beside them is left alone; the encoders are those of `make setup`.
With DATABASE_URL and REDIS_URL set, those servers are used instead of the embedded ones. Where the suite runs in several
processes (pytest-xdist), each has a home and embedded servers of its own, or a database and a Redis database of its own.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import environ
import pytest

ROOT = Path(__file__).resolve().parent.parent
HOME = os.environ.get("ENSO_TEST_HOME", str(ROOT / ".enso-test"))

DATABASE = {"db", "transactional_db", "live_server"}  # fixtures that lead to it


def home_of(worker: str) -> str:
    """Workers have homes beside the suite's own: `.enso-test-0`, `.enso-test-1` …"""
    return HOME + worker.replace("gw", "-")


def redis_of(url: str, worker: str) -> str:
    """The same server's next database for each worker; a URL without a number means the first.

    >>> redis_of("redis://127.0.0.1:6379", "gw0"), redis_of("redis://127.0.0.1:6379/2", "gw1")
    ('redis://127.0.0.1:6379/1', 'redis://127.0.0.1:6379/4')
    """
    address, number = re.fullmatch(r"(.*?)(?:/(\d*))?", url).groups()  # type: ignore[union-attr]
    return f"{address}/{int(number or 0) + int(worker.removeprefix('gw')) + 1}"


WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # gw0, gw1 …; pytest-django names the database after it
os.environ.setdefault("ENSO_ENCODERS", str(Path(os.environ.get("ENSO_HOME", ROOT / ".enso")) / "encoders"))
os.environ["ENSO_HOME"] = home_of(WORKER)
os.environ.setdefault("OMP_NUM_THREADS", "1")
if (ROOT / ".env").exists():
    environ.Env.read_env(ROOT / ".env")
if WORKER and os.environ.get("REDIS_URL"):
    os.environ["REDIS_URL"] = redis_of(os.environ["REDIS_URL"], WORKER)

from config import entry  # noqa: E402 - the home comes first


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the servers, but not for the process that only hands the tests out to workers."""
    if WORKER or not config.getoption("numprocesses", None):
        entry.prepare()
        # WhiteNoise asks for the folder of static files, which only the browser tests fill.
        (Path(os.environ["ENSO_HOME"]) / "static").mkdir(parents=True, exist_ok=True)


@pytest.hookimpl(tryfirst=True, specname="pytest_collection_modifyitems")
def pytest_mark_what_asks_a_server(items: list[pytest.Item]) -> None:
    """Before `-m` looks for the marker."""
    for item in items:
        if DATABASE & set(getattr(item, "fixturenames", ())) or item.get_closest_marker("django_db"):
            item.add_marker("servers")


@pytest.hookimpl(trylast=True, specname="pytest_collection_modifyitems")
def pytest_begin_with_what_takes_long(items: list[pytest.Item]) -> None:
    """Workers take whole files in this order: a long one at the end would keep one of them busy alone."""
    if WORKER:
        long = {
            item.path for item in items if item.get_closest_marker("processes") or item.get_closest_marker("browser")
        }
        items.sort(key=lambda item: item.path not in long)


def pytest_report_header(config: pytest.Config) -> str:
    servers = "embedded" if entry.uses_embedded_servers() else "named by DATABASE_URL and REDIS_URL"
    return f"servers: {servers}; home {os.environ['ENSO_HOME']}"
