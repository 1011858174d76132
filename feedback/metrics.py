"""What is measured: every metric declared once, and the counts of this process.

Counting must cost the hot paths next to nothing: `count` and `observe` change a list under a lock (under a microsecond).
Each process writes its sums to a file of its own once a second, and whoever is scraped adds up the files of all
(docs/decisions/0080): a process that is killed takes at most its last second with it. What lies in PostgreSQL anyway is
not counted but read when somebody asks (`gauges`).
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

KINDS = ("counter", "gauge", "histogram")
# Upper bounds in seconds; 0.1 is the target of the service level (feedback/service_level.py), so it must be among them.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
Labels = tuple[str, ...]
Key = tuple[str, Labels]
# A counter is [sum]; a histogram is the counts per bucket (the last above all bounds), then the sum of seconds.
Sums = dict[Key, list[float]]
Sample = tuple["Metric", Labels, float]


@dataclass(frozen=True)
class Metric:
    """A name that a dashboard or an alert may use. `unit` is Grafana's word for it."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    about: str
    labels: Labels = ()
    unit: str = "short"

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which Prometheus keeps it."""
        suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
        return tuple(self.name + s for s in suffixes[self.kind])


known: dict[str, Metric] = {}


def declare(
    kind: Literal["counter", "gauge", "histogram"], name: str, about: str, labels: Labels = (), *, unit: str = "short"
) -> Metric:
    """Make a metric known; a name twice is a mistake."""
    if name in known:
        raise ValueError(f"the metric {name} is declared twice")
    known[name] = Metric(kind, name, about, labels, unit)
    return known[name]


class Counts:
    """The sums of one process."""

    def __init__(self) -> None:
        self._lock, self._sums = threading.Lock(), Sums()
        self.changed = False

    def count(self, metric: Metric, labels: Labels = (), amount: float = 1.0) -> None:
        with self._lock:
            row = self._sums.get((metric.name, labels))
            if row is None:
                row = self._sums[metric.name, labels] = [0.0]
            row[0] += amount
            self.changed = True

    def observe(self, metric: Metric, labels: Labels, seconds: float) -> None:
        at = bisect_left(BUCKETS, seconds)
        with self._lock:
            row = self._sums.get((metric.name, labels))
            if row is None:
                row = self._sums[metric.name, labels] = [0.0] * (len(BUCKETS) + 2)
            row[at] += 1
            row[-1] += seconds
            self.changed = True

    def take(self) -> Sums:
        """A copy of the sums as they stand."""
        with self._lock:
            self.changed = False
            return {key: list(row) for key, row in self._sums.items()}

    def clear(self) -> None:
        """Forget everything: a child after a fork, whose parent goes on counting what it had."""
        self._lock, self._sums, self.changed = threading.Lock(), Sums(), False


def added(many: Iterable[Mapping[Key, list[float]]]) -> Sums:
    """The sums of several processes added up.

    >>> added([{("a", ()): [1.0]}, {("a", ()): [2.0], ("b", ("x",)): [3.0]}])
    {('a', ()): [3.0], ('b', ('x',)): [3.0]}
    """
    total: Sums = {}
    for sums in many:
        for key, row in sums.items():
            have = total.setdefault(key, [0.0] * len(row))
            if len(have) == len(row):  # a file of another version of this program
                total[key] = [a + b for a, b in zip(have, row, strict=True)]
    return total


@dataclass(frozen=True)
class Group:
    """Gauges that are read together, at most once in `seconds`."""

    name: str
    seconds: float
    read: Callable[[], Iterable[Sample]]


groups: dict[str, Group] = {}


def gauges(
    name: str, *, seconds: float = 5.0
) -> Callable[[Callable[[], Iterable[Sample]]], Callable[[], Iterable[Sample]]]:
    """Register a function that reads gauges from the database."""

    def register(function: Callable[[], Iterable[Sample]]) -> Callable[[], Iterable[Sample]]:
        groups[name] = Group(name, seconds, function)
        return function

    return register
