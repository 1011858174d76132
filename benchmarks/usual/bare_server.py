"""The bare Django view on a server of its own, beside the product's stack."""

from __future__ import annotations

import subprocess
import time
from types import TracebackType
from urllib.parse import urlsplit

import httpx
import psutil

from benchmarks.stack import ROOT, Stack
from config.stack import free_port, web_command


class Bare:
    """The bare view on the same server as the product: as many processes and threads. A context manager."""

    def __init__(self, stack: Stack, *, workers: int, threads: int = 8) -> None:
        self._stack = stack
        self.url = f"http://127.0.0.1:{free_port('127.0.0.1', 8700)}"
        self._command = web_command("127.0.0.1", urlsplit(self.url).port or 0, workers=workers, threads=threads)
        self._command[-1] = "benchmarks.usual.bare:application"

    def __enter__(self) -> Bare:
        environment = {k: v for k, v in self._stack.environment.items() if k != "DJANGO_SETTINGS_MODULE"}
        environment |= {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        self.process = subprocess.Popen(
            self._command, cwd=ROOT, env=environment, stdout=self._stack.log, stderr=subprocess.STDOUT
        )
        end = time.monotonic() + 60
        while not self._answers():
            if time.monotonic() > end or self.process.poll() is not None:
                self.process.kill()
                raise SystemExit(f"the bare view did not start: {self._stack.tail()}")
            time.sleep(0.1)
        return self

    def _answers(self) -> bool:
        try:
            return httpx.post(f"{self.url}/bare", timeout=5).status_code == 200
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

    def processes(self) -> list[psutil.Process]:
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]
