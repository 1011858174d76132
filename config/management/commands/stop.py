"""`manage.py stop`."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

from django.core.management.base import BaseCommand

from config import embedded

WAIT_SECONDS = 20.0


class Command(BaseCommand):
    help = "Stop the stack that runs from this folder."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        state = embedded.home() / "stack"
        try:
            pid = int(state.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            self.stdout.write("Nothing runs here.")
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + WAIT_SECONDS
        while state.exists() and _alive(pid) and time.monotonic() < end:
            time.sleep(0.1)
        state.unlink(missing_ok=True)
        self.stdout.write("Stopped.")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
