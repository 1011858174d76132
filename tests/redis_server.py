"""A Redis of a test's own, to be killed, frozen and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from config.embedded.programs import _installed


class Server:
    """A Redis on a socket in a short temporary folder; it keeps nothing on disk."""

    def __enter__(self) -> Server:
        self.folder = Path(tempfile.mkdtemp(prefix="enso-redis-"))
        self.url = f"unix://{self.folder}/r.sock"
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        program = shutil.which("redis-server") or str(_installed().redis / "redis-server")
        options = ["--port", "0", "--unixsocket", f"{self.folder}/r.sock", "--save", "", "--dir", str(self.folder)]
        self.process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
        client, end = redis.Redis.from_url(self.url), time.monotonic() + 60
        while True:
            try:
                client.ping()
                break
            except redis.RedisError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.02)
        client.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
