"""A connection to PostgreSQL that a process keeps for one purpose, beside those that Django lends to requests.

Borrowing one from the pool for each statement would cost a round trip to see whether it is alive, and its prepared
statements. This one is looked at when something fails: it is then closed, and the next use opens another.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from django.db import OperationalError, connection


def drop_idle() -> None:
    """Open the pool's idle connections anew: the server has gone, so they are dead.

    The pool would find that out one by one, and pauses longer after each: a web process with a dozen of them would refuse
    requests for many seconds after PostgreSQL is back.
    """
    pool = getattr(connection, "pool", None)
    if pool is not None:
        pool.drain()


class KeptConnection:
    """Statements run one at a time, each a transaction of its own; errors leave as Django's."""

    def __init__(self) -> None:
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._name: str | None = None
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """A forked child must not speak over its parent's socket, nor close it."""
        self._abandoned = self._connection  # kept from the collector, which would close it
        self._connection, self._lock = None, threading.Lock()

    @contextmanager
    def connection(self, *, patience: float = -1) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """The connection for the block, once it is this caller's turn; OperationalError after `patience` seconds (-1: no end)."""
        lock = self._lock  # the one of this moment: a forked child has another
        if not lock.acquire(timeout=patience):
            raise OperationalError(f"the connection was not free within {patience:g} s")
        try:
            with connection.wrap_database_errors:
                opened = self._opened()
                try:
                    yield opened
                except psycopg.OperationalError:
                    if opened.closed:
                        drop_idle()
                    self._close()
                    raise
        finally:
            lock.release()

    @contextmanager
    def cursor(self, *, patience: float = -1) -> Iterator[psycopg.Cursor[tuple[Any, ...]]]:
        """A cursor of it, under the same rules."""
        with self.connection(patience=patience) as opened:
            yield opened.cursor()

    def _opened(self) -> psycopg.Connection[tuple[Any, ...]]:
        name = connection.settings_dict["NAME"]
        if self._connection is None or self._connection.closed or self._name != name:
            self._close()
            given = connection.get_connection_params()
            given.pop("cursor_factory", None)
            given["prepare_threshold"] = 0 if settings.DATABASE_PREPARE else None
            self._connection = psycopg.connect(**given, autocommit=True)
            self._connection.execute("SET TIME ZONE 'UTC'")
            self._name = name
        return self._connection

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
