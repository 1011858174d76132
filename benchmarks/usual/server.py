"""The usual way on a server of its own, beside the product's stack and in the same database."""

from __future__ import annotations

import subprocess
import sys
import time
from types import TracebackType

import httpx
import psutil

from benchmarks.stack import ROOT, Stack
from config.stack import free_port, web_command

_SET_UP = """
import django; django.setup()
from django.core.management import call_command
call_command('migrate', run_syncdb=True, verbosity=0)
from rest_framework.authtoken.models import Token
from feedback.models import User
print(Token.objects.create(user=User.objects.create(username='usual')).key)
"""


class Usual:
    """A context manager: the same granian, as many processes and threads as the product's."""

    def __init__(self, stack: Stack, *, threads: int) -> None:
        self._stack, self._threads = stack, threads
        self._environment = {**stack.environment, "DJANGO_SETTINGS_MODULE": "benchmarks.usual.settings",
                             "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}  # fmt: skip

    def __enter__(self) -> Usual:
        code = f"from config import entry; entry.prepare()\n{_SET_UP}"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"the usual way could not be set up: {done.stderr[-2000:]}")
        self.token = done.stdout.split()[-1]
        self.port = free_port("127.0.0.1", 8700)
        command = web_command("127.0.0.1", self.port, workers=1, threads=self._threads)
        command[-1] = "benchmarks.usual.wsgi:application"
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=self._environment, stdout=self._stack.log, stderr=subprocess.STDOUT
        )
        end = time.monotonic() + 60
        while not self._answers():
            if time.monotonic() > end or self.process.poll() is not None:
                self.process.kill()
                raise SystemExit(f"the usual way did not start: {self._stack.tail()}")
            time.sleep(0.2)
        return self

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/drf/one", timeout=5).status_code == 401
        except httpx.HTTPError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()

    @property
    def processes(self) -> list[psutil.Process]:
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]
