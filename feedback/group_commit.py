"""Group commit: requests that arrive while one transaction runs share the next one.

Whoever comes first leads: it takes what has gathered, does the work for all, hands the results out and passes the lead
to one of those who came meanwhile. There is no thread of its own to start, to stop or to lose in a fork, a lone request
waits for nobody, and the fuller the queue the larger the group. Knows neither Django nor the database.

The work is done once for the whole group; when that fails, once for each item, so that one bad item fails alone.
Nothing is answered before its work has returned, so what a killed process had gathered was never acknowledged.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Busy(Exception):
    """Too many wait already, or the work did not come to an end in time: ask again later."""


class _Ticket(Generic[Item, Result]):
    """One request's place in the queue."""

    __slots__ = ("error", "item", "leads", "result", "woken")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.woken = threading.Event()
        self.leads = False
        self.result: Result | None = None
        self.error: BaseException | None = None

    def answer(self) -> Result:
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result


class GroupCommit(Generic[Item, Result]):
    """`work(items)` returns one result (never None) per item, in order, once all of them are durable."""

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        largest: int,
        waiting: int,
        patience: float,
        shared: tuple[type[Exception], ...] = (),
    ) -> None:
        """`largest` items per group, at most `waiting` in the queue, `patience` in seconds for one answer.

        Errors of the types `shared` are nobody's own (the database is away): then no item is tried alone.
        """
        self._work, self._largest, self._waiting, self._patience = work, largest, waiting, patience
        self._shared = shared
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """A forked child has none of the threads that wait in the queue of its parent."""
        self._lock = threading.Lock()
        self._queue: deque[_Ticket[Item, Result]] = deque()
        self._led = False

    def submit(self, item: Item) -> Result:
        """The item's result. Raises `Busy`, or what the work raised for this item."""
        ticket: _Ticket[Item, Result] = _Ticket(item)
        with self._lock:
            if len(self._queue) >= self._waiting:
                raise Busy("the queue is full")
            self._queue.append(ticket)
            ticket.leads = not self._led
            self._led = True
        if not ticket.leads and not ticket.woken.wait(self._patience):
            self._give_up(ticket)
        if ticket.leads:
            self._lead()
        return ticket.answer()

    def _give_up(self, ticket: _Ticket[Item, Result]) -> None:
        """Leave the queue, unless the answer or the lead came in this very moment."""
        with self._lock:
            if ticket.woken.is_set():
                return
            if ticket in self._queue:
                self._queue.remove(ticket)
        raise Busy("the work takes too long")

    def _lead(self) -> None:
        with self._lock:
            group = [self._queue.popleft() for _ in range(min(len(self._queue), self._largest))]
        try:
            self._settle(group)
        finally:
            with self._lock:
                self._led = bool(self._queue)
                if self._queue:
                    self._queue[0].leads = True
                    self._queue[0].woken.set()

    def _settle(self, group: list[_Ticket[Item, Result]]) -> None:
        try:
            self._hand_out(group)
        except Exception as error:
            alone = len(group) > 1 and not isinstance(error, self._shared)
            for ticket in group:
                if alone:
                    self._settle([ticket])
                else:
                    ticket.error = error
                    ticket.woken.set()

    def _hand_out(self, group: list[_Ticket[Item, Result]]) -> None:
        results = self._work([t.item for t in group])
        for ticket, result in zip(group, results, strict=True):
            ticket.result = result
            ticket.woken.set()
