"""Storage that several machines share: a real S3 server, and a directory of its own for each machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.s3 import Bucket, Credentials

PATIENCE = 120.0


def program() -> str | None:
    """`moto_server` as ENSO_TEST_S3 names it, of this environment, or on the path."""
    here = Path(sys.executable).with_name("moto_server")
    return os.environ.get("ENSO_TEST_S3") or (str(here) if here.exists() else shutil.which("moto_server"))


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The address of S3-compatible storage with nothing in it."""
    if (found := program()) is None:
        pytest.skip(
            "no S3 server is installed (pip install -r requirements/s3.lock, or ENSO_TEST_S3=…/bin/moto_server)"
        )
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    server = subprocess.Popen(
        [found, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
    try:
        while True:
            assert server.poll() is None
            assert time.monotonic() < end, "it never answered"
            try:
                httpx.get(url)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def shelf(endpoint: str, settings: Any, tmp_path: Path) -> Bucket:
    """A bucket that no other test has used, named in the settings."""
    settings.ENSO_S3_BUCKET, settings.ENSO_S3_ENDPOINT = f"shelf-{uuid.uuid4().hex[:12]}", endpoint
    settings.ENSO_S3_KEY, settings.ENSO_S3_SECRET, settings.ENSO_S3_PREFIX = "key", "secret", "enso/a shelf/"
    settings.ENSO_ARTIFACTS = tmp_path / "one"
    found = Bucket(endpoint, settings.ENSO_S3_BUCKET, Credentials("key", "secret"))
    found.put("", b"")  # PUT of the bucket itself creates it
    return found


@pytest.fixture
def elsewhere(settings: Any, tmp_path: Path) -> Callable[[], None]:
    """From here on, this is another machine with nothing on its disk."""

    def move() -> None:
        settings.ENSO_ARTIFACTS = tmp_path / uuid.uuid4().hex

    return move
