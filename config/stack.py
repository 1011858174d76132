"""The processes of one machine, under honcho: web, two workers, the live heads and beat; and the ready line."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from honcho.manager import Manager

READY_WITHIN = 180.0
WORKER = [sys.executable, "-m", "celery", "--quiet", "-A", "config.celery", "worker", "--loglevel", "WARNING", "--without-gossip",
          "--without-mingle", "--concurrency", "1"]  # fmt: skip


MOST_WEB_PROCESSES = 4


def free_port(host: str, wanted: int) -> int:
    """`wanted`, or the next port above it that nobody listens on."""
    for port in range(wanted, min(wanted + 200, 65_536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise OSError(f"ports {wanted} to {wanted + 199} are all taken: name a free one with --port")


def usual_web_processes() -> int:
    """One per core: a process uses little more than one, because its threads share the interpreter's lock (docs/decisions/0055)."""
    return min(len(os.sched_getaffinity(0)), MOST_WEB_PROCESSES)


def web_command(host: str, port: int, *, workers: int, threads: int) -> list[str]:
    return [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", host, "--port", str(port), "--workers", str(workers),
        "--blocking-threads", str(threads), "--respawn-failed-workers", "--no-ws", "--log-level", "error",
        "config.wsgi:application",
    ]  # fmt: skip


def commands(host: str, port: int, *, parts: Sequence[str], workers: int, threads: int) -> dict[str, list[str]]:
    """Name → command line of each wanted part."""
    known = {
        "web": web_command(host, port, workers=workers, threads=threads),
        "worker": [*WORKER, "--queues", "io", "--hostname", "io@%h"],
        "learner": ["nice", "-n", "10", *WORKER, "--queues", "learn,bulk", "--hostname", "learn@%h", *_memory()],
        "live": [sys.executable, "manage.py", "follow_labels"],
        "beat": [sys.executable, "-m", "celery", "--quiet", "-A", "config.celery", "beat", "--loglevel", "WARNING",
                 "--schedule", str(_home() / "beat"), "--pidfile", ""],
    }  # fmt: skip
    return {name: known[name] for name in parts}


def _memory() -> list[str]:
    """The learner's child ends after a job that left it larger than this; within one, config/celery.py holds the limit."""
    from django.conf import settings

    limit = settings.ENSO_LEARNER_MEMORY_MB
    return ["--max-memory-per-child", str(limit * 1024)] if limit else []


def _home() -> Path:
    from config import embedded

    return embedded.home()


def supervise(named: dict[str, list[str]], *, url: str | None, ready: Callable[[], None]) -> int:
    """Run the processes until one ends or Ctrl+C; `ready` is called once `url`/readyz answers."""
    manager = Manager()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # Each thread would otherwise keep an arena of its own, and the heap the largest batch that it has ever seen.
    environment |= {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}
    for name, command in named.items():
        keeper = [sys.executable, "-m", "config.keep", name, "--", *command]
        manager.add_process(name, _quoted(keeper), env=environment, cwd=str(Path(__file__).resolve().parent.parent))
    if url is not None:
        threading.Thread(target=_announce, args=(url, ready), daemon=True).start()
    manager.loop()
    return manager.returncode or 0


def _quoted(command: Sequence[str]) -> str:
    import shlex

    return "exec " + shlex.join(command)


def _announce(url: str, ready: Callable[[], None]) -> None:
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end:
        if is_ready(url):
            ready()
            return
        time.sleep(0.2)
    sys.stderr.write(f"Enso is not ready after {READY_WITHIN:.0f} s: look at the lines above.\n")


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310 - our own http address
            return bool(json.load(answer)["status"] == "ready")
    except (urllib.error.URLError, OSError, ValueError, KeyError):
        return False
