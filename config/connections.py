"""How processes that run tasks hold their connections to PostgreSQL: one per thread, and no pool.

Celery closes Django's pool whenever a task begins or ends, for all threads of the process: whoever is waiting for a
connection just then, such as the thread that looks for new versions, gets `PoolClosed`. A worker has a few threads that
live as long as it does, so that a pool has nothing to share there; web processes keep theirs. The thread that runs tasks has
a connection per task, the others keep theirs open.
"""

from __future__ import annotations

from typing import Any

from django.db import connections


def keep_one_per_thread() -> None:
    """Do without a pool in this process and those that it forks. Call it before a connection is opened."""
    for alias in connections:
        told: dict[str, Any] = connections.settings[alias]
        told["OPTIONS"].pop("pool", None)
        told["CONN_MAX_AGE"] = None
