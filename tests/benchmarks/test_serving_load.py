"""The load generator against a server of a few lines: what it counts is what was answered."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.serving_load import Load, Spec

CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"


@contextmanager
def server(answer: Callable[[bytes], bytes | None]) -> Iterator[int]:
    """Answers each request with what `answer` makes of its body; None: the connection is closed."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            while line := lines.readline():
                length = 0
                while (line := lines.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                given = answer(lines.read(length))
                if given is None:
                    return
                for at in range(0, len(given), 20):  # in pieces
                    connection.sendall(given[at : at + 20])

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.close()


def load(tmp_path, port, count=40, **how):
    bodies = tmp_path / "bodies"
    bodies.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(count)))
    spec = {"host": "127.0.0.1", "port": port, "path": "/x", "headers": {}, "bodies": str(bodies), "seconds": 20} | how
    return Load(Spec(**spec)).run()


@pytest.mark.parametrize(("answer", "status"), [(CHUNKED, "201"), (SIZED, "200")])
def test_every_body_is_sent_once_and_every_answer_is_counted(tmp_path, answer, status):
    seen = []
    with server(lambda body: seen.append(json.loads(body)["n"]) or answer) as port:
        found = load(tmp_path, port, once=True, connections=4)
    assert sorted(seen) == list(range(40)) == sorted(found["acknowledged"])
    assert (found["statuses"], found["broken"]) == ({status: 40}, 0)


def test_a_refusal_is_no_acknowledgement_and_a_lost_connection_is_counted(tmp_path):
    def answer(body):
        n = json.loads(body)["n"]
        return None if n == 7 else BUSY if n == 9 else SIZED

    with server(answer) as port:
        found = load(tmp_path, port, once=True, connections=3)
    assert found["broken"] == 1
    assert found["statuses"] == {"200": 38, "503": 1}
    assert not {7, 9} & set(found["acknowledged"])


def test_in_an_open_loop_time_counts_from_when_a_request_was_due(tmp_path):
    """One connection, and a server that does not answer the first request before the last is due."""
    gate = threading.Event()

    def answer(body):
        if json.loads(body)["n"] == 0:
            gate.wait(10)
        elif json.loads(body)["n"] == 9:
            gate.set()
        return SIZED

    with server(answer) as port:
        found = load(tmp_path, port, count=10, once=True, connections=1, rate=50.0)
    assert found["statuses"] == {"200": 10}
    assert found["max_ms"] >= 9 / 50 * 1000 - 1  # the first was due nine requests before the last
