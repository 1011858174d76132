"""The load generator of the serving benchmark, in a process of its own: `python -m benchmarks.serving_load SPEC.json`.

One thread, kept-open connections, requests made ahead: it shares the cores with what it measures, so it must cost little.
Closed loop: every connection sends its next request when the one before is answered. Open loop (`rate`): requests are due
at fixed times whatever the server does, and a request's time counts from when it was due, so that a server that stalls
cannot hide it by receiving less (Tene's coordinated omission). Its report is one JSON object on stdout.
"""

from __future__ import annotations

import json
import resource
import selectors
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

MOST_CONNECTIONS = 128  # of an open loop: beyond it requests wait in line, and their time runs


@dataclass
class Spec:
    """What to send: bodies in turn from number `first` on (once each where `once`), for `seconds` or until they are used up."""

    host: str
    port: int
    path: str
    headers: dict[str, str]
    bodies: str
    seconds: float
    connections: int = 16
    first: int = 0
    rate: float = 0.0  # per second; 0: closed loop
    once: bool = False

    def requests(self) -> Iterator[tuple[int, bytes]]:
        """Numbered requests as they go over the wire."""
        lines = Path(self.bodies).read_bytes().splitlines()
        fixed = "".join(f"{k}: {v}\r\n" for k, v in self.headers.items())
        start = f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{fixed}".encode()
        made = [start + b"Content-Length: %d\r\n\r\n" % len(line) + line for line in lines]
        return islice(enumerate(made if self.once else cycle(made)), self.first, None)


@dataclass
class Report:
    """Milliseconds of the answered requests, how many had which status, and the numbers of those that were acknowledged."""

    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    acknowledged: list[int] = field(default_factory=list)

    def as_dict(self, seconds: float) -> dict[str, Any]:
        ordered = sorted(self.times)
        usage = resource.getrusage(resource.RUSAGE_SELF)

        def at(share: float) -> float:
            return round(1e3 * ordered[min(int(share * len(ordered)), len(ordered) - 1)], 3) if ordered else 0.0

        return {
            "requests": len(ordered), "seconds": seconds, "rps": len(ordered) / seconds, "p50_ms": at(0.5), "p95_ms": at(0.95),
            "p99_ms": at(0.99), "max_ms": at(1.0), "statuses": {str(k): v for k, v in self.statuses.items()},
            "broken": self.broken, "acknowledged": self.acknowledged, "own_cpu_s": usage.ru_utime + usage.ru_stime,
        }  # fmt: skip


class Wire:
    """One connection with at most one request under way."""

    def __init__(self, spec: Spec) -> None:
        self.socket = socket.create_connection((spec.host, spec.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.number, self.due, self._got = -1, 0.0, b""

    def send(self, number: int, request: bytes, due: float) -> None:
        self.number, self.due, self._got = number, due, b""
        if self.socket.send(request) != len(request):
            raise OSError("a request did not fit into the socket's buffer")

    def receive(self) -> int:
        """The status once the answer is whole, 0 before."""
        try:
            part = self.socket.recv(65536)
        except BlockingIOError:
            return 0
        if not part:
            raise OSError("the server closed the connection")
        self._got += part
        head, found, body = self._got.partition(b"\r\n\r\n")
        return int(head[9:12]) if found and _whole(head.lower(), body) else 0


def _whole(head: bytes, body: bytes) -> bool:
    """Whether all of an answer has come. JSON holds no raw line ends, so the last chunk cannot be mistaken."""
    if (at := head.find(b"content-length:")) >= 0:
        return len(body) >= int(head[at + 15 :].partition(b"\r\n")[0])
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    raise OSError("an answer without its length")


class Load:
    """The loop over all connections."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.report = spec, Report()
        self._supply = spec.requests()
        self._selector = selectors.DefaultSelector()
        self._idle: deque[Wire] = deque()
        self._busy = 0
        self._given_out = False
        for _ in range(spec.connections):
            self._open()

    def _open(self) -> None:
        wire = Wire(self.spec)
        self._selector.register(wire.socket, selectors.EVENT_READ, wire)
        self._idle.append(wire)

    def run(self) -> dict[str, Any]:
        began = time.perf_counter()
        end, sent = began + self.spec.seconds, 0
        while (now := time.perf_counter()) < end or self._busy:
            if now < end and not self._given_out:
                sent += self._send(began, now, sent)
            elif not self._busy:
                break
            self._receive(self._pause(began, now, sent))
            if now > end + 30:
                self.report.broken += self._busy
                break
        return self.report.as_dict(time.perf_counter() - began)

    def _pause(self, began: float, now: float, sent: int) -> float:
        """How long to wait for answers: until the next request is due."""
        return max(began + sent / self.spec.rate - now, 0.0) if self.spec.rate else 1.0

    def _send(self, began: float, now: float, sent: int) -> int:
        """Send what is due over idle connections; an open loop opens more."""
        rate, count = self.spec.rate, 0
        while not rate or began + (sent + count) / rate <= now:
            if not self._idle and rate and self._busy < MOST_CONNECTIONS:
                self._open()
            if not self._idle:
                break
            if (following := next(self._supply, None)) is None:
                self._given_out = True
                break
            due = began + (sent + count) / rate if rate else now
            wire = self._idle.popleft()
            wire.send(*following, due)
            self._busy += 1
            count += 1
        return count

    def _receive(self, pause: float) -> None:
        for key, _ in self._selector.select(pause):
            wire: Wire = key.data
            try:
                status = wire.receive()
            except OSError:
                self._broken(wire)
                continue
            if status:
                self._answered(wire, status)

    def _answered(self, wire: Wire, status: int) -> None:
        self.report.times.append(time.perf_counter() - wire.due)
        self.report.statuses[status] += 1
        if self.spec.once and status in (200, 201):
            self.report.acknowledged.append(wire.number)
        self._busy -= 1
        self._idle.append(wire)

    def _broken(self, wire: Wire) -> None:
        """The connection is gone; a request that it carried was not answered."""
        self._selector.unregister(wire.socket)
        wire.socket.close()
        if wire in self._idle:
            self._idle.remove(wire)
        else:
            self._busy -= 1
            self.report.broken += 1
        self._open()


def main() -> None:
    spec = Spec(**json.loads(Path(sys.argv[1]).read_text()))
    json.dump(Load(spec).run(), sys.stdout)


if __name__ == "__main__":
    main()
