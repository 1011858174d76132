"""The embedded PostgreSQL: made once, started when it is not running, stopped in an orderly way.

The cluster has a role `enso` that owns the database `enso` and may create databases (the tests do), and a superuser
`postgres` for a person's hands. Whoever reaches the socket is trusted: its folder has mode 0700.
"""

import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from config.embedded.account import Account
from config.embedded.errors import ServerError, failed_start
from config.embedded.places import DATABASE, PORT, ROLE, Places
from config.embedded.processes import alive, end, is_running, launch, run, wait_until, works_in

# Locale by PostgreSQL's own C.UTF-8: the same order and the same letters on every machine, whatever libc it has.
_INITDB = [
    "--username=postgres", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
    "--auth-local=trust", "--auth-host=reject", "--set=timezone=UTC", "--set=log_timezone=UTC", "--no-instructions",
]  # fmt: skip
_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "random_page_cost": "1.1",
    "jit": "off",
    # Statements and row values are people's texts: they stay out of the log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_line_prefix": "%m [%p] ",
}
if sys.platform == "linux":  # one call for the whole file system, where a call for each file takes some seconds
    _INITDB.append("--sync-method=syncfs")
    _SETTINGS["recovery_init_sync_method"] = "syncfs"
_FIRST_SQL = f"CREATE ROLE {ROLE} LOGIN CREATEDB\nCREATE DATABASE {DATABASE} OWNER {ROLE}\n"
_UNFINISHED = "postgres-unfinished-"
_START_S = 180.0  # recovery after kill -9 replays at most max_wal_size
_FAST_STOP_S, _IMMEDIATE_STOP_S = 60.0, 10.0
_ORPHANS_S = 30.0
_LOG_LIMIT = 10_000_000


@dataclass(frozen=True)
class Postgres:
    """PostgreSQL of one home."""

    where: Places

    name = "PostgreSQL"

    @property
    def data(self) -> Path:
        return self.where.postgres_data

    @property
    def log(self) -> Path:
        return self.where.logs / "postgres.log"

    @property
    def address(self) -> str:
        return str(self.where.sockets / f".s.PGSQL.{PORT}")

    def pid(self) -> int | None:
        """The process id of the running postmaster, or None."""
        file = _PidFile.of(self.data)
        if file.pid is None or not is_running(file.pid, f"unix_socket_directories={file.sockets}"):
            return None
        return file.pid if file.sockets == str(self.where.sockets) or works_in(file.pid, self.data) else None

    def ensure_running(self, account: Account, programs: Path) -> None:
        """Make the cluster if there is none and start it if it is not running; returns when it takes connections.

        `programs` is the folder with `postgres` and `initdb`. Raises ServerError with the log's reason when it does not
        start.
        """
        if self.data.exists():
            self._check_version(programs)
        else:
            self._initialise(account, programs)
        pid = self.pid()
        if pid and _PidFile.of(self.data).sockets != str(self.where.sockets):
            self.stop()  # the clone was moved while it ran: it listens where nobody looks
            pid = None
        self._await_ready(pid or self._launch(account, programs))

    def stop(self) -> None:
        """Stop it: clients are cut off and a checkpoint is written. Does nothing when it is not running."""
        pid = self.pid()
        if pid is None:
            return
        if not (end(pid, signal.SIGINT, seconds=_FAST_STOP_S) or end(pid, signal.SIGQUIT, seconds=_IMMEDIATE_STOP_S)):
            raise ServerError(f"PostgreSQL (process {pid}) does not stop: end that process, then start again.")

    def _initialise(self, account: Account, programs: Path) -> None:
        """Make the cluster under another name first, so that it is whole or absent."""
        for leftover in self.where.state.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover)
        growing = self.where.state / f"{_UNFINISHED}{os.getpid()}"
        making = [str(programs / "initdb"), f"--pgdata={growing}", *_INITDB]
        filling = [str(programs / "postgres"), "--single", "-D", str(growing), "postgres"]
        try:
            for command, text in ((making, ""), (filling, _FIRST_SQL)):
                done = run(command, account=account, text=text)
                if done.returncode or "ERROR" in done.stdout:  # single-user mode ends with 0 after a failed statement
                    raise failed_start("PostgreSQL", self.log, done.stdout)
            growing.rename(self.data)
        finally:
            shutil.rmtree(growing, ignore_errors=True)

    def _check_version(self, programs: Path) -> None:
        made_by = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        present = programs.parent.name.removeprefix("pginstall")
        if present.isdigit() and made_by != present:
            raise ServerError(
                f"{self.data} was made by PostgreSQL {made_by} and PostgreSQL {present} is installed: install the "
                "versions of the lock that made it, or give the data up with `make reset`."
            )

    def _launch(self, account: Account, programs: Path) -> int:
        self._clear_pid_files()
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        settings = _SETTINGS | {"unix_socket_directories": str(self.where.sockets)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(programs / "postgres"), "-D", str(self.data), *options]
        return launch(command, account=account, log=self.log)

    def _clear_pid_files(self) -> None:
        """Remove the pid files of a killed postmaster.

        PostgreSQL takes any process of its account under that id for the old postmaster: a stranger that got the id
        after a reboot, or the dead one itself where nobody reaps it, as in a container without an init. The files stay,
        and PostgreSQL may refuse to start, while backends of the old postmaster still hold its shared memory.
        """
        memory = _PidFile.of(self.data).shared_memory
        if wait_until(lambda: not _attached(memory), seconds=_ORPHANS_S):
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            Path(f"{self.address}.lock").unlink(missing_ok=True)

    def _await_ready(self, pid: int) -> None:
        def settled() -> bool:
            return _PidFile.of(self.data).ready_as(pid) or not alive(pid)

        wait_until(settled, seconds=_START_S)
        if not alive(pid):
            raise failed_start("PostgreSQL", self.log)
        if not _PidFile.of(self.data).ready_as(pid):
            raise ServerError(
                f"PostgreSQL takes longer than {_START_S:.0f} s to recover: wait and start again ({self.log})."
            )


@dataclass(frozen=True)
class _PidFile:
    """What postmaster.pid says: line 1 the process, 5 the socket folder, 7 shared memory's key and id, 8 the state."""

    pid: int | None = None
    sockets: str = ""
    shared_memory: int | None = None
    state: str = ""

    @classmethod
    def of(cls, data: Path) -> "_PidFile":
        try:
            lines = (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
            lines += [""] * 8
            pid = int(lines[0])
        except (FileNotFoundError, ValueError):
            return cls()
        memory = lines[6].split()
        return cls(pid, lines[4], int(memory[1]) if len(memory) == 2 else None, lines[7].strip())

    def ready_as(self, pid: int) -> bool:
        return self.pid == pid and self.state == "ready"


def _attached(shared_memory: int | None) -> int:
    """How many processes hold the System V segment by which PostgreSQL itself guards its data (0 without /proc)."""
    try:
        rows = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return 0
    return sum(int(row.split()[6]) for row in rows if row.split()[1] == str(shared_memory))
