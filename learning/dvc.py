"""Snapshots of a project as a DVC project: dvc.yaml, dvc.lock, a .dvc file for each, and a remote that holds their bytes.

    FOLDER/.dvc/config             the remote is FOLDER/remote, named "snapshots"
    FOLDER/dvc.yaml, dvc.lock      a stage per run: its snapshot, its hyper-parameters, the command that repeats it
    FOLDER/params.yaml             hyper-parameters, seed and environment by run
    FOLDER/snapshots/SHA.dvc       the pointer to a snapshot's files
    FOLDER/remote/files/md5/ab/…   the files under their MD5, and a listing under MD5.dir for each snapshot

The layout is that of DVC 3 (dvc.org/doc, "Internal directories and files"): `dvc pull` in FOLDER brings the files. A
snapshot holds ids and hashes and no text. One that an erasure has replaced is left out with its runs, and taken out of a
folder that is written again. Nothing here needs DVC itself.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings

from feedback.models import Project
from learning.models import Snapshot, TrainingRun
from learning.snapshots import files_of
from serving.artifacts import write_file

# Without a git repository around it DVC asks for no_scm; inside of one it does no harm.
CONFIG = b"[core]\n    remote = snapshots\n    no_scm = True\n['remote \"snapshots\"']\n    url = ../remote\n"
HEAD = "# Written by `manage.py export_dvc`; it is written anew each time.\n"
PARAMS = "params.yaml"


@dataclass(frozen=True)
class Tree:
    """A directory as DVC names it. ``md5s`` are those of its files by relative path, ``size`` their bytes together."""

    md5s: Mapping[str, str]
    size: int

    @property
    def listing(self) -> bytes:
        """The object that stands for the directory: JSON with sorted keys, in the order of the paths."""
        rows = [{"md5": self.md5s[path], "relpath": path} for path in sorted(self.md5s)]
        return json.dumps(rows, sort_keys=True).encode()

    @property
    def md5(self) -> str:
        return _md5(self.listing) + ".dir"

    def entry(self, path: str) -> dict[str, Any]:
        """As it stands in a .dvc file and in dvc.lock."""
        return {"path": path, "hash": "md5", "md5": self.md5, "size": self.size, "nfiles": len(self.md5s)}


@dataclass(frozen=True)
class Exported:
    """Snapshots and runs that are there, objects that are new in the remote, snapshots left out, files taken out."""

    snapshots: int
    runs: int
    written: int
    erased: int
    removed: int


class NotOurs(ValueError):
    """The folder holds something that this export did not write."""


def export(project: Project, folder: Path) -> Exported:
    """Write everything; an object that is there is not written again, so a killed export goes on where it stopped.

    Raises NotOurs for a folder that holds something else, LookupError where a file of a snapshot is gone or changed,
    OSError where the disk refuses.
    """
    _claim(folder)
    known = list(Snapshot.objects.filter(project=project).order_by("pk"))
    kept = [s for s in known if s.successor_id is None]
    wanted: set[Path] = set()
    trees: dict[int, Tree] = {}
    written = 0
    for snapshot in kept:
        trees[snapshot.pk], new = _put(snapshot, folder, wanted)
        written += new
    ignored = "".join(f"/{s.sha256}\n" for s in kept)
    _write(folder / "snapshots" / ".gitignore", ignored.encode())
    runs = TrainingRun.objects.filter(snapshot__in=kept, model__isnull=False).select_related("snapshot", "model")
    stages = list(runs.order_by("pk"))
    _write_stages(project, folder, stages, trees)
    return Exported(len(kept), len(stages), written, len(known) - len(kept), _remove_others(folder, wanted))


def _claim(folder: Path) -> None:
    """Only an empty folder or one of ours is written to: what is no longer referred to is deleted there."""
    config = folder / ".dvc" / "config"
    if folder.exists() and not folder.is_dir():
        raise NotOurs(f"{folder} is not a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (config.is_file() and config.read_bytes() == CONFIG):
        raise NotOurs(f"{folder} is neither empty nor an earlier export; name another folder")
    _write(config, CONFIG)


def _put(snapshot: Snapshot, folder: Path, wanted: set[Path]) -> tuple[Tree, int]:
    """A snapshot's objects and its pointer, the objects first; (its tree, how many objects are new)."""
    md5s, size, new = dict[str, str](), 0, 0
    for path, content in _files(snapshot):
        md5s[path] = _md5(content)
        size += len(content)
        wanted.add(target := _object(folder, md5s[path]))
        new += _write(target, content)
    tree = Tree(md5s, size)
    wanted.add(listing := _object(folder, tree.md5))
    new += _write(listing, tree.listing)
    wanted.add(pointer := folder / "snapshots" / f"{snapshot.sha256}.dvc")
    _write(pointer, _yaml({"outs": [tree.entry(snapshot.sha256)]}))
    return tree, new


def _files(snapshot: Snapshot) -> Iterator[tuple[str, bytes]]:
    """(path as it lies under the artifacts, content), each checked against the hash that is its name."""
    root = Path(settings.ENSO_ARTIFACTS) / "snapshots"
    try:
        for path in files_of(snapshot.sha256):
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != path.stem:
                raise LookupError(f"{path.stem[:12]} of snapshot {snapshot.sha256[:12]} was changed")
            yield path.relative_to(root).as_posix(), content
    except OSError as error:
        raise LookupError(f"a file of snapshot {snapshot.sha256[:12]} cannot be read: {error.strerror}") from error


def _write_stages(project: Project, folder: Path, runs: Sequence[TrainingRun], trees: Mapping[int, Tree]) -> None:
    """A run as a stage: DVC's own words for what it was made from. It has no output: repeating it registers nothing."""
    params = {_name(run): _params(run) for run in runs}
    stages, locked = {}, {}
    for run in runs:
        name, path = _name(run), f"snapshots/{run.snapshot.sha256}"
        command = f"python manage.py train {shlex.quote(project.slug)} --reproduce {run.pk}"
        assert run.model is not None
        made = {"version": run.model.number, "bundle": run.model.manifest_sha, "encoder": run.encoder_sha}
        stages[name] = {
            "cmd": command, "desc": f"Repeats run {run.pk}", "deps": [path], "params": [name], "meta": {**made, "state": run.state},
        }  # fmt: skip
        locked[name] = {
            "cmd": command,
            "deps": [trees[run.snapshot_id].entry(path)],
            "params": {PARAMS: {name: params[name]}},
        }
    _write(folder / PARAMS, _yaml(params))
    _write(folder / "dvc.yaml", _yaml({"stages": stages}))
    _write(folder / "dvc.lock", _yaml({"schema": "2.0", "stages": locked}))


def _name(run: TrainingRun) -> str:
    return f"run-{run.pk}"


def _params(run: TrainingRun) -> dict[str, Any]:
    return {"seed": run.seed, "hyperparameters": run.hyperparameters, "environment": run.environment}


def _remove_others(folder: Path, wanted: Set[Path]) -> int:
    """Objects and pointers that nothing names any more: those of erased snapshots."""
    lying = [*(folder / "remote" / "files" / "md5").glob("*/*"), *(folder / "snapshots").glob("*.dvc")]
    others = [path for path in lying if path not in wanted]
    for path in others:
        path.unlink()
    return len(others)


def _object(folder: Path, md5: str) -> Path:
    return folder / "remote" / "files" / "md5" / md5[:2] / md5[2:]


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()  # the name that DVC gives, no protection


def _yaml(value: dict[str, Any]) -> bytes:
    return (HEAD + yaml.safe_dump(value, sort_keys=False, allow_unicode=True)).encode()


def _write(path: Path, content: bytes) -> bool:
    """Make a file hold this, whole or not at all; False where it does already."""
    if path.is_file() and path.read_bytes() == content:
        return False
    write_file(path, content)
    return True
