"""Turns at something that only so many threads can usefully do at once, with an end to the queue. Knows no Django.

More threads in a model than cores only take each other's cache. Those that wait hold a web thread each, so the queue is
bounded: beyond it the caller is told to come again, which is better than an answer that comes too late.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from feedback.group_commit import Busy


class Turns:
    """`at_once` threads inside, at most `waiting` before the door, each for at most `patience` seconds."""

    def __init__(self, at_once: int, *, waiting: int, patience: float) -> None:
        self._at_once, self._waiting, self._patience = at_once, waiting, patience
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._free = threading.Semaphore(self._at_once)
        self._lock = threading.Lock()
        self._queued = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn and hold it for the block. Raises `Busy` where too many wait, or for too long."""
        free = self._free
        if not free.acquire(blocking=False):
            self._queue(free)
        try:
            yield
        finally:
            free.release()

    def _queue(self, free: threading.Semaphore) -> None:
        with self._lock:
            if self._queued >= self._waiting:
                raise Busy("the queue is full")
            self._queued += 1
        try:
            if not free.acquire(timeout=self._patience):
                raise Busy("the work takes too long")
        finally:
            with self._lock:
                self._queued -= 1
