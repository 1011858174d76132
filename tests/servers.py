"""The servers of the suite: a pytest plugin (`-p tests.servers`) that runs before Django's settings are read.

Tests have a home of their own, so that a demo that runs beside them is left alone; the encoders are those of `make setup`.
With DATABASE_URL and REDIS_URL set, those servers are used instead of the embedded ones.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

os.environ.setdefault("ENSO_ENCODERS", str(Path(os.environ.get("ENSO_HOME", ROOT / ".enso")) / "encoders"))
os.environ["ENSO_HOME"] = os.environ.get("ENSO_TEST_HOME", str(ROOT / ".enso-test"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from config import entry  # noqa: E402 - the home comes first

entry.prepare()


def pytest_report_header(config: pytest.Config) -> str:
    servers = "embedded" if entry.uses_embedded_servers() else "named by DATABASE_URL and REDIS_URL"
    return f"servers: {servers}; home {os.environ['ENSO_HOME']}"
