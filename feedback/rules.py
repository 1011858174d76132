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
    """Bounds of a rating, how the project's own order numbers look (feedback/masking.py), and what an event counts that
    comes from a page and names no signed customer."""

    rating_min: float
    rating_max: float
    order_templates: tuple[str, ...] = ()
    anonymous_weight: float = 0.2


class _Cache:
    """Project → (rules, when they are read again)."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Rules, float]] = {}
        self._lock = threading.Lock()

    def get(self, project_id: int) -> Rules:
        found = self._known.get(project_id)
        if found is not None and found[1] > time.monotonic():
            return found[0]
        fields = Project.objects.values_list("rating_min", "rating_max", "order_templates", "anonymous_weight")
        low, high, templates, anonymous = fields.get(pk=project_id)
        rules = Rules(low, high, tuple(templates), anonymous)
        with self._lock:
            if len(self._known) >= CACHE_SIZE:
                self._known.clear()
            self._known[project_id] = (rules, time.monotonic() + CACHE_SECONDS)
        return rules

    def forget(self, project_id: int) -> None:
        with self._lock:
            self._known.pop(project_id, None)


cache = _Cache()
