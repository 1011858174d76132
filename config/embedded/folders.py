"""Making the folders that the servers need, private and owned by who runs them.

Only folders made here get a mode: what lies above them stays as it was.
"""

import os
import stat
from pathlib import Path

from config.embedded.account import Account
from config.embedded.errors import ServerError, explained
from config.embedded.places import Places

_PRIVATE, _PASSABLE = 0o700, 0o711


def make_home(where: Places) -> None:
    """Make the home and its lock folder where they are missing."""
    with explained(where.home):
        if not where.home.is_dir():
            where.home.parent.mkdir(parents=True, exist_ok=True)
            where.home.mkdir(mode=_PRIVATE, exist_ok=True)
        where.locks.mkdir(mode=_PRIVATE, exist_ok=True)


def prepare(where: Places, account: Account) -> None:
    """Make the folders of data, logs and sockets where they are missing. Raises ServerError where one is not ours."""
    with explained(where.state):
        if os.geteuid() == 0:
            _make_passable(where.state.parent)
        for folder in (where.state, where.redis_data, where.logs, where.sockets):
            _make_private(folder, account)


def _make_passable(folder: Path) -> None:
    """A folder of root's that the servers' account may pass through, but not list."""
    try:
        folder.mkdir()
    except FileExistsError:
        return
    folder.chmod(_PASSABLE)


def _make_private(folder: Path, account: Account) -> None:
    try:
        folder.mkdir(mode=_PRIVATE)
    except FileExistsError:
        pass
    else:
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid:
        raise ServerError(f"{folder} belongs to somebody else: remove it, or set ENSO_HOME to another folder.")
    if stat.S_IMODE(found.st_mode) != _PRIVATE:
        folder.chmod(_PRIVATE)
