"""A circuit breaker: what fails again and again is left alone for a while, twice as long each time. Pure.

Closed: calls go through; `threshold` failures in a row open it. Open: nothing goes through for t₀·2ⁿ seconds, n the number of
openings since the last success (Nygard, Release It!, 2nd ed., ch. 5; the growing wait as in exponential backoff). Half-open:
one call is let through as a trial; it closes the circuit or opens it again. A trial of which nothing is heard (its thread
died) gives way to another one after `patience` seconds.

The circuit belongs to one process and is not shared: what one process cannot read, another perhaps can.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

State = Literal["closed", "open", "half_open"]


class LeftAlone(Exception):
    """The circuit is open: the call was not made."""


@dataclass(frozen=True)
class Rules:
    """`threshold` failures in a row; `first` (t₀) and `longest` wait, and `patience` with a trial, in seconds."""

    threshold: int = 5
    first: float = 1.0
    longest: float = 60.0
    patience: float = 10.0

    def wait(self, openings: int) -> float:
        """Seconds that the n-th opening (from 0) lasts.

        >>> [Rules(longest=10.0).wait(n) for n in range(6)]
        [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
        """
        return min(self.first * 2.0 ** min(openings, 60), self.longest)


@dataclass(frozen=True)
class Circuit:
    """Where it is. `until` is when an open circuit may be tried, or a trial is given up; `openings` since the last success."""

    state: State = "closed"
    failures: int = 0
    openings: int = 0
    until: float = 0.0

    def asked(self, rules: Rules, now: float) -> tuple[Circuit, bool]:
        """Whether a call may go through now, and the circuit after it was asked."""
        if self.state == "closed":
            return self, True
        if now < self.until:
            return self, False
        return replace(self, state="half_open", until=now + rules.patience), True

    def succeeded(self) -> Circuit:
        """A call came back. One that began before the circuit opened does not close it: only a trial does."""
        return self if self.state == "open" else Circuit()

    def failed(self, rules: Rules, now: float) -> Circuit:
        """A call failed, or took longer than it may."""
        if self.state == "open":  # it began before the circuit opened
            return self
        failures = self.failures + 1
        if self.state == "closed" and failures < rules.threshold:
            return replace(self, failures=failures)
        return Circuit("open", 0, self.openings + 1, now + rules.wait(self.openings))


class Breaker:
    """A circuit that threads share."""

    def __init__(self, rules: Rules | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules, self._clock = rules or Rules(), clock
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock, self._circuit = threading.Lock(), Circuit()

    @property
    def state(self) -> State:
        return self._circuit.state

    @contextmanager
    def call(self, *, budget: float | None = None) -> Iterator[None]:
        """Run the block as a call; raises `LeftAlone` where the circuit is open.

        An error that leaves the block is a failure, and so is a block that took longer than `budget` seconds: it cannot be
        stopped half-way, but it can be kept from holding up the next caller.
        """
        self._ask()
        began = self._clock()
        try:
            yield
        except Exception:
            self._fail()
            raise
        if budget is not None and self._clock() - began > budget:
            self._fail()
        elif self._circuit.failures or self._circuit.state != "closed":
            with self._lock:
                self._circuit = self._circuit.succeeded()

    def _ask(self) -> None:
        if self._circuit.state == "closed":  # nearly always: no lock for it
            return
        with self._lock:
            self._circuit, allowed = self._circuit.asked(self._rules, self._clock())
        if not allowed:
            raise LeftAlone("it failed several times in a row and is left alone for a while")

    def _fail(self) -> None:
        with self._lock:
            self._circuit = self._circuit.failed(self._rules, self._clock())
