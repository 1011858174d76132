"""What the ingest benchmark sends, who sends it, and what it costs the servers."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.stack import ROOT, Stack

PATIENCE_SECONDS = 120.0
# How often each kind comes: mostly what a page sends by itself, some votes, few words.
MIX = {"impression": 30, "dwell": 20, "scroll": 20, "click": 10, "thumbs": 8, "rating": 5, "comment": 5, "nps": 2}
COMMENTS = [
    "Quick answer, thank you.", "This did not help me at all.", "Please call me back on 090-1234-5678 tomorrow.",
    "My order 4821377 is still not here.", "Works now.", "Write to me at customer@example.com, the form is broken.",
]  # fmt: skip


def events(inquiries: Sequence[str], seed: int) -> Iterator[dict[str, Any]]:
    """Events without end: each inquiry's three to eight come close together, mixed with those of some thirty others."""
    rng = random.Random(seed)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    waiting: list[dict[str, Any]] = []
    for number in range(10**9):
        inquiry = inquiries[number % len(inquiries)]
        for _ in range(rng.randint(3, 8)):
            kind = rng.choices(list(MIX), list(MIX.values()))[0]
            at = start + timedelta(seconds=number, microseconds=rng.randrange(10**6))
            event = {
                "event_id": str(uuid.UUID(int=rng.getrandbits(128))), "inquiry": inquiry, "type": kind,
                "customer": f"customer-{number % 5000}", "occurred_at": at.isoformat(),
            }  # fmt: skip
            waiting.append(event | _said(kind, rng))
        while len(waiting) > 180:
            yield waiting.pop(rng.randrange(len(waiting)))


def _said(kind: str, rng: random.Random) -> dict[str, Any]:
    if kind == "comment":
        return {"text": rng.choice(COMMENTS)}
    values: dict[str, Callable[[], Any]] = {
        "dwell": lambda: round(rng.expovariate(1 / 20), 1), "scroll": lambda: round(rng.random(), 2),
        "thumbs": lambda: rng.choice(["up", "down"]), "rating": lambda: rng.randint(1, 5), "nps": lambda: rng.randint(0, 10),
    }  # fmt: skip
    return {"value": values[kind]()} if kind in values else {}


def usual(event: dict[str, Any]) -> dict[str, Any]:
    """The event in the words of the usual way, whose value is a short text."""
    return event | ({"value": str(event["value"])} if "value" in event else {})


@dataclass
class Target:
    """Where requests go: a path of a server on this machine, with the caller's headers."""

    url: str
    path: str
    headers: dict[str, str]

    def connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)


@dataclass
class Outcome:
    """What came back: milliseconds per request, and the answers where they are kept."""

    seconds: float
    times_ms: list[float]
    answers: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def p95_ms(self) -> float:
        return sorted(self.times_ms)[int(0.95 * len(self.times_ms))]


def send(
    target: Target,
    bodies: Sequence[bytes],
    *,
    connections: int,
    patient: bool = False,
    on_share: Callable[[float], None] = lambda share: None,
) -> Outcome:
    """Send every body once over `connections` kept-open connections; `patient` repeats what was not answered."""
    local = threading.local()
    times = [0.0] * len(bodies)
    done = [0]

    def one(number: int) -> tuple[int, bytes]:
        began = time.perf_counter()
        answer = _post(local, target, bodies[number], patient)
        times[number] = (time.perf_counter() - began) * 1e3
        done[0] += 1
        if done[0] % 64 == 0:
            on_share(done[0] / len(bodies))
        return answer

    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        answers = list(pool.map(one, range(len(bodies))))
    return Outcome(time.perf_counter() - began, times, answers)


def _post(local: Any, target: Target, body: bytes, patient: bool) -> tuple[int, bytes]:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if getattr(local, "connection", None) is None:
                local.connection = target.connect()
            local.connection.request("POST", target.path, body, target.headers)
            answer = local.connection.getresponse()
            status, content = answer.status, answer.read()
            if not patient or (status < 500 and status != 429):
                return status, content
        except (OSError, http.client.HTTPException):
            if local.connection is not None:
                local.connection.close()
            local.connection = None
            if not patient or time.monotonic() > end:
                raise
        if time.monotonic() > end:
            return status, content
        time.sleep(0.1)


def postmaster(stack: Stack) -> psutil.Process:
    """The stack's PostgreSQL; SystemExit where it is a server of somebody else's, whose CPU time cannot be read."""
    code = "from config import embedded; import json; print(json.dumps({s.name: s.pid for s in embedded.status()}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=stack.environment, capture_output=True, text=True, check=True
    )
    pid = json.loads(done.stdout)["PostgreSQL"]
    if pid is None:
        raise SystemExit("this benchmark reads PostgreSQL's CPU time: unset DATABASE_URL, so that it starts its own")
    return psutil.Process(pid)


class Meter:
    """CPU seconds of a web server and of PostgreSQL with all its processes, from one reading to the next."""

    def __init__(self, web: Callable[[], list[psutil.Process]], database: psutil.Process | None) -> None:
        self._web, self._database = web, database

    def read(self) -> float:
        own = float(sum(_cpu(p) for p in self._web()))
        if self._database is None:
            return own
        gone = self._database.cpu_times()
        backends = [self._database, *self._database.children(recursive=True)]
        return float(own + gone.children_user + gone.children_system + sum(_cpu(p) for p in backends))


def _cpu(process: psutil.Process) -> float:
    try:
        t = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(t.user + t.system)
