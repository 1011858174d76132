"""A WSGI application that says when it has begun a request, and ends it when it is told: two files beside each other."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PLACE = Path(os.environ.get("SLOW_APP", "."))


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    (PLACE / f"begun-{uuid.uuid4().hex}").touch()
    while not (PLACE / "end").exists():
        time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
