"""The counts of all web processes of one machine or pod: each writes a file, whoever is asked adds them up."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
from django.conf import settings

from feedback import metrics
from feedback.metrics import Counts, Labels, Metric, Sums

log = logging.getLogger(__name__)
EVERY_SECONDS = 1.0

counts = Counts()


class _Writer:
    """Writes this process's sums once a second, where something was counted."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start anew in this process: a name of its own (process ids come again), no thread yet."""
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}.json"
        self.thread: threading.Thread | None = None
        self._lock, self._said = threading.Lock(), False

    def wake(self) -> None:
        if self.thread is None:
            with self._lock:
                if self.thread is None:
                    self.thread = threading.Thread(target=self._write_always, name="metrics", daemon=True)
                    self.thread.start()
                    atexit.register(self.write)

    def _write_always(self) -> None:
        pause = threading.Event()
        while not pause.wait(EVERY_SECONDS):
            self.write()

    def write(self) -> None:
        """Lay the sums down whole: written aside, then renamed. A disk that is full costs figures, never an answer."""
        if not counts.changed:
            return
        rows = [(name, labels, row) for (name, labels), row in counts.take().items()]
        path = folder() / self.name
        aside = path.with_suffix(f".{threading.get_ident()}")
        try:
            folder().mkdir(parents=True, exist_ok=True, mode=0o700)
            aside.write_bytes(msgspec.json.encode(rows))
            aside.replace(path)
        except OSError as error:
            counts.changed = True
            if not self._said:
                log.warning("metrics of this process cannot be written: %s", error)
                self._said = True


_writer = _Writer()


def _forked() -> None:
    counts.clear()
    _writer.begin()


os.register_at_fork(after_in_child=_forked)


def folder() -> Path:
    return Path(settings.ENSO_METRICS_DIR)


def count(metric: Metric, labels: Labels = (), amount: float = 1.0) -> None:
    """Add to a counter of this process."""
    counts.count(metric, labels, amount)
    if _writer.thread is None:
        _writer.wake()


def observe(metric: Metric, labels: Labels, seconds: float) -> None:
    """Add a duration to a histogram of this process."""
    counts.observe(metric, labels, seconds)
    if _writer.thread is None:
        _writer.wake()


def everything() -> Sums:
    """The sums of all processes here, this one as it stands now. What a dead process counted stays: counters never fall."""
    return metrics.added([counts.take(), *_others()])


def _others() -> Iterator[Sums]:
    for path in sorted(folder().glob("*.json")):
        if path.name != _writer.name:
            try:
                rows = msgspec.json.decode(path.read_bytes(), type=list[tuple[str, Labels, list[float]]])
            except (OSError, msgspec.DecodeError):
                continue  # taken away meanwhile, or of another version
            yield {(name, labels): row for name, labels, row in rows}


def forget_others() -> None:
    """Remove what earlier runs left; called before the web processes start."""
    for path in folder().glob("*.json"):
        path.unlink(missing_ok=True)
