"""Keep one process running: `python -m config.keep NAME -- COMMAND …` starts it again when it dies.

A child that ends by itself with status 0 ends the keeper; one that was killed or crashed is started again, ever more
slowly when it keeps dying young. SIGTERM and SIGINT are passed on, and the kernel ends the child when the keeper dies.
"""

from __future__ import annotations

import ctypes
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

log = logging.getLogger(__name__)
PR_SET_PDEATHSIG = 1
YOUNG_SECONDS = 10.0
SLOWEST_SECONDS = 30.0


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def keep(name: str, command: Sequence[str]) -> int:
    """Run `command` until it ends well or the keeper is told to stop; returns its last status."""
    stopping = threading.Event()
    child: list[subprocess.Popen[bytes]] = []

    def stop(number: int, frame: object) -> None:
        stopping.set()
        if child:
            child[0].send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    pause = 0.0
    while not stopping.is_set():
        started = time.monotonic()
        child[:] = [subprocess.Popen(command, preexec_fn=_die_with_parent)]  # noqa: S603 - our own command line
        if stopping.is_set():
            child[0].terminate()
        status = child[0].wait()
        if stopping.is_set() or status == 0:
            return max(status, 0)
        pause = min(max(2 * pause, 0.2), SLOWEST_SECONDS) if time.monotonic() - started < YOUNG_SECONDS else 0.2
        log.warning("%s ended with status %s; it starts again in %.1f s", name, status, pause)
        stopping.wait(pause)
    return 0


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    name, _, *command = sys.argv[1:]
    sys.exit(keep(name, command))
