"""An application on the same granian as the product's, beside its stack."""

from __future__ import annotations

import subprocess
import time
from types import TracebackType
from typing import Self

import httpx
import psutil

from benchmarks.stack import ROOT, Stack
from config.stack import free_port, web_command


class Beside:
    """A context manager. `application` is what granian serves; it is ready once `path` answers `status` to `method`."""

    application: str
    name: str
    method, path, status = "GET", "/", 200

    def __init__(self, stack: Stack, *, workers: int = 1, threads: int = 8) -> None:
        self._stack, self._workers, self._threads = stack, workers, threads
        self.environment = {**stack.environment, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        self.port = free_port("127.0.0.1", 8700)
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        command = web_command("127.0.0.1", self.port, workers=self._workers, threads=self._threads)
        command[-1] = self.application
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=self._stack.log, stderr=subprocess.STDOUT
        )
        end = time.monotonic() + 60
        while not self._answers():
            if time.monotonic() > end or self.process.poll() is not None:
                self.process.kill()
                raise SystemExit(f"{self.name} did not start: {self._stack.tail()}")
            time.sleep(0.1)
        return self

    def _answers(self) -> bool:
        try:
            return httpx.request(self.method, f"{self.url}{self.path}", timeout=5).status_code == self.status
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
