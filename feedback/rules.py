"""What a project asks of its events, kept in process: a hot path must not query the project for every event."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from feedback.models import Project

# A changed setting is in force within this many seconds in every process, at once in the one that changed it.
CACHE_SECONDS = 1.0
CACHE_SIZE = 10_000


@dataclass(frozen=True)
class Rules:
    """Bounds of a rating, and how the project's own order numbers look (feedback/masking.py)."""

    rating_min: float
    rating_max: float
    order_templates: tuple[str, ...] = ()


class _Cache:
    """Project → (rules, when they are read again)."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Rules, float]] = {}
        self._lock = threading.Lock()

    def get(self, project_id: int) -> Rules:
        found = self._known.get(project_id)
        if found is not None and found[1] > time.monotonic():
            return found[0]
        fields = Project.objects.values_list("rating_min", "rating_max", "order_templates")
        low, high, templates = fields.get(pk=project_id)
        rules = Rules(low, high, tuple(templates))
        with self._lock:
            if len(self._known) >= CACHE_SIZE:
                self._known.clear()
            self._known[project_id] = (rules, time.monotonic() + CACHE_SECONDS)
        return rules

    def forget(self, project_id: int) -> None:
        with self._lock:
            self._known.pop(project_id, None)


cache = _Cache()
