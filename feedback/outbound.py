"""Requests to addresses that somebody typed in: only to public ones unless listed, no redirects, bounded in size and time."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

Address = tuple[str, int]


class Unreachable(Exception):
    """Why nothing was fetched, in a sentence without the answer's text."""


def fetch(url: str, *, most: int, seconds: float) -> bytes:
    """GET `url`: the body, up to `most` bytes within `seconds`. Unreachable where it is refused, slow, large or not 200.

    The host is resolved once and the connection goes to that very address, so a name cannot point elsewhere in between.
    """
    parts = urlsplit(url)
    with _open(parts, seconds) as connection:
        return _body(connection, parts, most)


@contextmanager
def _open(parts: SplitResult, seconds: float) -> Iterator[http.client.HTTPConnection]:
    """A connection to the address that was looked at, which ends after `seconds` whatever the other side does."""
    address = resolve(parts)
    connection = _connection(parts, address, seconds)
    try:
        connection.connect()
        assert connection.sock is not None
        # A server that sends a byte now and then never runs into a socket's timeout: this ends it.
        alarm = threading.Timer(seconds, _shut, [connection.sock])
        alarm.daemon = True
        alarm.start()
        try:
            yield connection
        finally:
            alarm.cancel()
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{parts.hostname} did not answer properly ({type(error).__name__}).") from error
    finally:
        connection.close()


def post(url: str, body: bytes, *, headers: dict[str, str], most: int, seconds: float) -> int:
    """POST `body`: the status of the answer, of which up to `most` bytes are read and thrown away."""
    parts = urlsplit(url)
    with _open(parts, seconds) as connection:
        connection.request("POST", _target(parts), body=body, headers={"User-Agent": "Enso", **headers})
        answer = connection.getresponse()
        answer.read(most)
        return answer.status


def resolve(parts: SplitResult) -> Address:
    """The address behind a URL; Unreachable where it is not HTTP(S), unknown, or not public and not listed."""
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise Unreachable("Only http:// and https:// addresses without a user name are fetched.")
    listed = parts.hostname in settings.ENSO_OUTBOUND_ALLOW
    if parts.scheme == "http" and not listed:
        raise Unreachable(f"{parts.hostname} is not listed in ENSO_OUTBOUND_ALLOW: use https://.")
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"The name {parts.hostname} is not known.") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not listed and not all(is_public(a) for a in addresses):
        raise Unreachable(f"{parts.hostname} is no public address; list it in ENSO_OUTBOUND_ALLOW if it is meant.")
    return addresses[0], port


def is_public(address: str) -> bool:
    """Globally routable, also when an IPv4 address is wrapped into IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if wrapped is not None:
            return is_public(str(wrapped))
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.is_global and not ip.is_multicast


def _connection(parts: SplitResult, address: Address, seconds: float) -> http.client.HTTPConnection:
    assert parts.hostname is not None
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            parts.hostname, address[1], timeout=seconds, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, address[1], timeout=seconds)
    # The name stays for TLS and the Host header; the socket goes to the address that was looked at.
    connection._create_connection = lambda _, *args, **kwargs: socket.create_connection(address, *args, **kwargs)  # type: ignore[attr-defined]
    return connection


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed already


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _body(connection: http.client.HTTPConnection, parts: SplitResult, most: int) -> bytes:
    connection.request("GET", _target(parts), headers={"Accept": "application/json", "User-Agent": "Enso"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise Unreachable(f"{parts.hostname} answered {answer.status} (redirects are not followed).")
    body = answer.read(most + 1)
    if len(body) > most:
        raise Unreachable(f"{parts.hostname} sent more than {most:,} bytes.")
    return body
