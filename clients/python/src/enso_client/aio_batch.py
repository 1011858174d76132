"""Feedback in the background of an event loop; see `enso_client.batch`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any

from enso_client.batch import BufferFull
from enso_client.calls import Event
from enso_client.errors import EnsoError, Invalid


class AsyncFeedbackBatch:
    """`FeedbackBatch` for one event loop: use it in an `async with`."""

    def __init__(
        self, deliver: Callable[[Sequence[Event]], Awaitable[Any]], *, size: int, seconds: float, most: int
    ) -> None:
        if not 1 <= size <= most or seconds <= 0:
            raise ValueError("size must lie between 1 and most, seconds above 0")
        self._deliver, self._size, self._seconds, self._most = deliver, size, seconds, most
        self._waiting: list[Event] = []
        self._full, self._sending = asyncio.Event(), asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.error: EnsoError | None = None
        self.refused: list[tuple[Event, EnsoError]] = []

    async def __aenter__(self) -> AsyncFeedbackBatch:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __len__(self) -> int:
        """Events that wait."""
        return len(self._waiting)

    def add(self, event: Event) -> None:
        """Take an event; returns at once. BufferFull where `most` events wait already."""
        event.body()
        if self._task is None:
            raise ValueError("this batch is not open: use it in an `async with`")
        if len(self._waiting) >= self._most:
            raise BufferFull(f"{self._most:,} events wait: the server takes none ({self.error})")
        self._waiting.append(event)
        if len(self._waiting) >= self._size:
            self._full.set()

    async def flush(self) -> None:
        """Send now what waits. Raises where it could not be sent; it is kept then."""
        async with self._sending:
            while self._waiting:
                taken = self._waiting[: self._size]
                try:
                    await self._send(taken)
                except EnsoError as error:
                    self.error = error
                    raise
                self.error = None
                del self._waiting[: len(taken)]

    async def aclose(self) -> None:
        """Send what waits and stop."""
        if self._task is not None:
            async with self._sending:  # never in the middle of a request
                self._task.cancel()
            self._task = None
        await self.flush()

    async def _send(self, events: Sequence[Event]) -> None:
        try:
            await self._deliver(events)
        except Invalid as error:
            if len(events) == 1:
                self.refused.append((events[0], error))
                return
            for event in events:
                await self._send([event])

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), self._seconds)
            self._full.clear()
            try:
                await self.flush()
            except EnsoError:
                await asyncio.sleep(min(self._seconds, 1.0))  # kept in `error`, and the events with it
