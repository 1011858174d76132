"""The embedded Redis: started when it is not running, its data appended to a log that is flushed every second."""

import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from config.embedded.account import Account
from config.embedded.errors import ServerError, failed_start
from config.embedded.places import Places
from config.embedded.processes import alive, end, is_running, launch, wait_until, works_in

_SETTINGS = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "save": "",  # the append-only log is the one copy on disk
    "always-show-logo": "no",
    "set-proc-title": "yes",
    "proc-title-template": "redis-server {unixsocket}",  # by this a process id is known to be ours; {title} may be too long
}
_START_S = 120.0
_STOP_S = 30.0
_ANSWER_S = 2.0


@dataclass(frozen=True)
class RedisServer:
    """Redis of one home."""

    where: Places

    name = "Redis"

    @property
    def data(self) -> Path:
        return self.where.redis_data

    @property
    def log(self) -> Path:
        return self.where.logs / "redis.log"

    @property
    def address(self) -> str:
        return str(self.where.redis_socket)

    def pid(self) -> int | None:
        """The process id of the running server, or None."""
        return _pid_in(self._pid_file)

    def ensure_running(self, account: Account, programs: Path) -> None:
        """Start it if it is not running; returns when it answers.

        `programs` is the folder with `redis-server`. Raises ServerError with the log's reason when it does not start.
        """
        for other in set(self.data.glob("*.pid")) - {self._pid_file}:
            pid = _pid_in(other)
            if pid and works_in(pid, self.data):
                self._end(pid)  # the clone was moved while it ran: one log must not have two writers
            other.unlink(missing_ok=True)
        pid = self.pid()
        if pid and not self.where.redis_socket.exists():
            self._end(pid)  # its socket was removed by hand: nobody can reach it any more
            pid = None
        self._await_ready(pid or self._launch(account, programs))

    def stop(self) -> None:
        """Stop it: what it holds is flushed to disk. Does nothing when it is not running."""
        self._end(self.pid())

    @property
    def _pid_file(self) -> Path:
        return self.data / f"{self.where.digest}.pid"

    def _launch(self, account: Account, programs: Path) -> int:
        places = {"dir": self.data, "unixsocket": self.where.redis_socket, "pidfile": self._pid_file}
        settings = {
            name: str(place) for name, place in places.items()
        } | _SETTINGS  # the title is checked against the socket
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return launch([str(programs / "redis-server"), *options], account=account, log=self.log)

    def _await_ready(self, pid: int) -> None:
        wait_until(lambda: self._answers() or not alive(pid), seconds=_START_S)
        if not alive(pid):
            raise failed_start("Redis", self.log)
        if not self._answers():
            raise ServerError(f"Redis (process {pid}) does not answer: run `make stop`, then start again ({self.log}).")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:  # redis-py costs every process that reads the settings 0.25 s
            client.settimeout(_ANSWER_S)
            try:
                client.connect(self.address)
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")  # while it reads its log back it says -LOADING
            except OSError:
                return False

    def _end(self, pid: int | None) -> None:
        if pid and not end(pid, signal.SIGTERM, signal.SIGKILL, seconds=_STOP_S):
            raise ServerError(f"Redis (process {pid}) does not stop: end that process, then start again.")


def _pid_in(pid_file: Path) -> int | None:
    """The process of a pid file `<digest>.pid`, if it runs and was started with the socket of that digest."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None
    return pid if is_running(pid, pid_file.stem) else None
