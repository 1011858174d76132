"""A worker with a task that says what its process holds (tests/config/test_connections.py)."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

from config.celery import app


class Counted(logging.Handler):
    """How often the thread that looks for new versions failed."""

    failures = 0

    def emit(self, record: logging.LogRecord) -> None:
        Counted.failures += 1


logging.getLogger("serving.served").addHandler(Counted(logging.ERROR))


@app.task(name="tests.tell")
def tell(project_id: int, path: str) -> None:
    """Write what this process holds to a file, which appears whole."""
    from django.db import connection

    from serving.served import served

    desk = served.desk(project_id)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    found: dict[str, Any] = {
        "process": os.getpid(), "pooled": connection.pool is not None, "backend": backend,
        "watchers": [t.ident for t in threading.enumerate() if t.name == "served-watcher"],
        "failures": Counted.failures, "threshold": desk.policy.confidence_threshold,
    }  # fmt: skip
    part = Path(f"{path}.part")
    part.write_text(json.dumps(found))
    part.replace(path)
