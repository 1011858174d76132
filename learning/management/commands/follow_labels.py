"""`manage.py follow_labels`."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from learning import owner


class Command(BaseCommand):
    help = (
        "Keep the live heads: every resolved label is in the served answers within a second or two. Runs until stopped."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        owner.run(stop)
