"""A training cannot take the machine's memory: its process is refused it, and the job says so."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import config.celery as c
from django.conf import settings
settings.ENSO_LEARNER_MEMORY_MB = 1024
for name in ("io@host", "learn@host"):
    c.know_the_learner(sender=name)
    c.limit_memory()
    try:
        bytearray(2**31)
        print(name, "had")
    except MemoryError:
        print(name, "refused")
"""


def test_the_learner_is_limited_and_the_other_workers_are_not() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["io@host", "had", "learn@host", "refused"]
