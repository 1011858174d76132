"""Requests to addresses that somebody typed in."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from feedback import outbound
from feedback.outbound import Unreachable


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.9.9", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1", "::1",
     "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::"],
)  # fmt: skip
def test_addresses_of_our_own_networks_are_not_public(address: str) -> None:
    assert not outbound.is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_other_addresses_are(address: str) -> None:
    assert outbound.is_public(address)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://shop.example/", "https://", "http://93.184.216.34/", "https://127.0.0.1/", "https://[::1]/",
     "https://2130706433/", "https://0x7f.1/", "https://localhost/", "https://user@93.184.216.34/"],
)  # fmt: skip
def test_an_address_that_is_not_public_or_not_encrypted_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(Unreachable):
        outbound.fetch(url, most=10, seconds=1)


def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, 1, 6, "", (a, 443)) for a in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: both)
    with pytest.raises(Unreachable, match="no public address"):
        outbound.resolve(urlsplit("https://shop.example/"))


class Peer:
    """A server that answers with given bytes, and then keeps the line open."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/keys?x=1"
        self.answer, self.heard, self.done = b"", b"", threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        line, _ = self.socket.accept()
        self.heard = line.recv(4096)
        line.sendall(self.answer)
        self.done.wait(30)
        line.close()


@pytest.fixture
def peer(settings: Any) -> Iterator[Peer]:
    settings.ENSO_OUTBOUND_ALLOW = ["127.0.0.1"]
    started = Peer()
    yield started
    started.done.set()
    started.socket.close()


def test_a_listed_host_is_asked(peer: Peer) -> None:
    peer.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    assert outbound.fetch(peer.url, most=100, seconds=5) == b"{}"
    assert peer.heard.startswith(b"GET /keys?x=1 HTTP/1.1\r\nHost: 127.0.0.1")


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 200, b"nonsense\r\n\r\n"],
)  # fmt: skip
def test_redirects_large_answers_and_nonsense_are_refused(peer: Peer, answer: bytes) -> None:
    peer.answer = answer
    with pytest.raises(Unreachable):
        outbound.fetch(peer.url, most=100, seconds=5)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
def test_a_peer_that_does_not_finish_is_left_in_time(peer: Peer, answer: bytes) -> None:
    peer.answer = answer
    with pytest.raises(Unreachable):
        outbound.fetch(peer.url, most=100, seconds=0.5)
