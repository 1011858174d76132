"""Feedback in the background: events are collected and sent together, by size, by time, and at the end."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from enso_client.calls import Event
from enso_client.errors import EnsoError, Invalid


class BufferFull(EnsoError):
    """The server has not taken events for so long that there is no room for another one: this one was not added."""


class FeedbackBatch:
    """Thread-safe. Events that could not be sent stay and are sent with the next ones; `close` raises what went wrong last.

    A batch that the server finds invalid is sent one by one, so that one bad event does not take others with it; the bad
    ones are kept in `refused`, each with its error.
    """

    def __init__(
        self, deliver: Callable[[Sequence[Event]], Any], *, size: int = 500, seconds: float = 2.0, most: int = 100_000
    ) -> None:
        if not 1 <= size <= most or seconds <= 0:
            raise ValueError("size must lie between 1 and most, seconds above 0")
        self._deliver, self._size, self._seconds, self._most = deliver, size, seconds, most
        self._waiting: list[Event] = []
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._closing = False
        self.error: EnsoError | None = None
        self.refused: list[tuple[Event, EnsoError]] = []
        self._thread = threading.Thread(target=self._run, name="enso-feedback", daemon=True)
        self._thread.start()
        atexit.register(self._last)

    def __enter__(self) -> FeedbackBatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Events that wait."""
        return len(self._waiting)

    def add(self, event: Event) -> None:
        """Take an event; returns at once. BufferFull where `most` events wait already."""
        event.body()  # a bad time zone is the caller's to hear of
        with self._changed:
            if self._closing:
                raise ValueError("this batch is closed")
            if len(self._waiting) >= self._most:
                raise BufferFull(f"{self._most:,} events wait: the server takes none ({self.error})")
            self._waiting.append(event)
            if len(self._waiting) >= self._size:
                self._changed.notify()

    def flush(self) -> None:
        """Send now what waits. Raises where it could not be sent; it is kept then."""
        with self._sending:
            while self._waiting:
                taken = self._waiting[: self._size]
                try:
                    self._send(taken)
                except EnsoError as error:
                    self.error = error
                    raise
                self.error = None
                with self._changed:
                    del self._waiting[: len(taken)]

    def close(self) -> None:
        """Send what waits and stop. Raises where that could not be sent: it is still in `len()` then, and close may be
        called again."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self.flush()
        atexit.unregister(self._last)

    def _send(self, events: Sequence[Event]) -> None:
        try:
            self._deliver(events)
        except Invalid as error:
            if len(events) == 1:
                self.refused.append((events[0], error))
                return
            for event in events:
                self._send([event])

    def _run(self) -> None:
        while not self._closing:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._due, self._seconds)
            self._try()

    @property
    def _due(self) -> bool:
        """A full batch is sent at once; after a failure the next try comes when the time is up."""
        return self.error is None and len(self._waiting) >= self._size

    def _try(self) -> None:
        try:
            self.flush()
        except EnsoError:
            return  # kept in `error`, and the events with it

    def _last(self) -> None:
        """At the end of the process: whoever forgot to close it."""
        self._try()
