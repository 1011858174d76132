"""The account under which the servers run.

PostgreSQL refuses to run as root. Root's servers run as the system account `enso`, made on first use, or as `nobody`
where no account can be made; everybody else's run as themselves.
"""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from config.embedded.errors import ServerError
from config.embedded.places import Places

_NAME = "enso"
_FIRST_PERSON = 1_000  # uids below are system accounts; a person's account does not get root's data


class SpawnOptions(TypedDict, total=False):
    """What `subprocess` needs to run a program as another account."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """A user id and group id of the operating system."""

    uid: int
    gid: int

    @property
    def spawn_options(self) -> SpawnOptions:
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def may_read(self, path: Path) -> bool:
        """Whether this account can reach `path` and read it, by owner, group and mode (access lists are not read)."""
        needed = [(parent, stat.S_IXOTH) for parent in path.parents]
        bits = stat.S_IROTH | stat.S_IXOTH if path.is_dir() else stat.S_IROTH
        return all(self._granted(place, mask) for place, mask in [*needed, (path, bits)])

    def _granted(self, path: Path, mask: int) -> bool:
        found = path.stat()
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid == self.gid else 0
        return (found.st_mode >> shift) & mask == mask


def server_account(where: Places) -> Account:
    """The account that runs the servers of this home: whoever owns their data, else the account for new data."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if where.state.exists():
        owner = where.state.lstat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    return _system_account()


def _system_account() -> Account:
    found = _existing(_NAME) or _created() or _existing("nobody")
    if found is None:
        raise ServerError(
            "PostgreSQL does not run as root and no account enso could be made: make one with `useradd --system enso`."
        )
    return found


def _existing(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    if name == _NAME and entry.pw_uid >= _FIRST_PERSON:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


def _created() -> Account | None:
    tool = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if tool is None:
        return None
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    command = [tool, *options, "--shell", "/usr/sbin/nologin", _NAME]
    subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - fixed words, no input
    return _existing(_NAME)
