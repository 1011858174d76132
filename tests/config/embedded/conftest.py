"""A home of its own for the servers under test, and real processes that use them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from config import embedded

_USER = """
import os, signal, subprocess, sys
from config import embedded
signal.signal(signal.SIGINT, signal.SIG_IGN if "deaf" in sys.argv else signal.default_int_handler)
embedded.acquire()
print("acquired", flush=True)
for line in sys.stdin:
    print(eval(line), flush=True)
"""


class User:
    """A process that uses the servers until it is told to finish."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-c", _USER, *words]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def wait_acquired(self) -> "User":
        assert self._heard() == "acquired"
        return self

    def do(self, expression: str) -> str:
        """Let the process evaluate Python, with `embedded` at hand; returns the result as text."""
        assert self.process.stdin is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        return self._heard()

    def finish(self) -> int:
        """Let the process come to its end in the ordinary way."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(60)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(60)

    def interrupt_group(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def _heard(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@dataclass(frozen=True)
class Home:
    """A fresh home under a long path, and the modes of the folders above it before the servers were made."""

    path: Path
    modes_above: dict[Path, int]


def modes_above(path: Path) -> dict[Path, int]:
    """The mode of every existing folder from `path` up to the root."""
    return {folder: folder.stat().st_mode for folder in (path, *path.parents) if folder.exists()}


@pytest.fixture(scope="session")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One home for all tests here: making a database cluster is what takes time."""
    folder = tmp_path_factory.mktemp("a clone") / ("long-" * 32 + "name")
    folder.mkdir()
    path = folder / ".enso"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENSO_HOME", str(path))
        before = modes_above(folder) | modes_above(embedded.status()[0].data.parent.parent)
        user = User().wait_acquired()
        user.finish()
        user.close()
        yield Home(path, before)
        embedded.reset()


@pytest.fixture
def home(made_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """The home, with its servers stopped before and after the test."""
    monkeypatch.setenv("ENSO_HOME", str(made_home.path))
    embedded.stop()
    yield made_home
    embedded.stop()


@pytest.fixture
def new_user(home: Home) -> Iterator[Callable[..., User]]:
    """Makes users; those still there at the end of the test are killed."""
    users: list[User] = []

    def make(*words: str) -> User:
        users.append(User(*words))
        return users[-1]

    yield make
    for user in users:
        user.close()


@pytest.fixture
def pids() -> Callable[[], list[int | None]]:
    """The process ids of PostgreSQL and Redis, None for one that is not running."""
    return lambda: [server.pid for server in embedded.status()]
