"""Artifacts beyond one machine: the directory is what processes read, a bucket is where those of all machines meet.

With ENSO_S3_BUCKET, an artifact is put into the bucket before a row names it; a process that has
the row and not the file fetches it. Artifacts never change and are read against the hash in their name, so that nothing has to
agree about versions, and a copy that is damaged on its way is refused like any other. A folder counts as there once its
manifest is: that is put last. Without a bucket all of this does nothing.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from serving.artifacts import MANIFEST, UNFINISHED, write_file

if TYPE_CHECKING:
    from serving.s3 import Bucket

log = logging.getLogger(__name__)
OWN = ("checkpoints",)  # of one machine's unfinished work


def bucket() -> Bucket | None:
    """The bucket of the settings; None where there is none."""
    if not settings.ENSO_S3_BUCKET:
        return None
    return _opened(
        settings.ENSO_S3_ENDPOINT, settings.ENSO_S3_BUCKET, settings.ENSO_S3_KEY, settings.ENSO_S3_SECRET, settings.ENSO_S3_REGION
    )  # fmt: skip


@functools.cache
def _opened(endpoint: str, name: str, key: str, secret: str, region: str) -> Bucket:
    from serving.s3 import Bucket, Credentials  # its HTTP client costs a web process without a bucket .2 s

    return Bucket(endpoint, name, Credentials(key, secret, region))


def write(path: Path, data: bytes) -> None:
    """Write a file: into the bucket first, so that what is here is there too, whenever a process is killed. Raises Refused
    (an OSError)."""
    if (to := bucket()) is not None:
        to.put(_key(path), data)
    write_file(path, data)


def put(folder: Path) -> None:
    """Put a folder that was written here into the bucket, its manifest last. Raises Refused."""
    if (to := bucket()) is None:
        return
    for file in _files(folder):
        to.put(_key(file), file.read_bytes())


def local(path: Path) -> Path:
    """``path``; where it is not here but in the bucket, it is fetched first. Storage that is away, or a directory that cannot be
    written, is logged: whoever reads then finds no file, as without a bucket."""
    source = bucket()
    if source is None or path.exists():
        return path
    try:
        if (data := source.get(_key(path))) is not None:
            write_file(path, data)
        else:
            _fetch_folder(source, path)
    except OSError as error:  # Refused is one, and a directory that may not be written is another
        log.error("%s cannot be fetched: %s", path.name, error)
    return path


def remove(path: Path) -> None:
    """Delete a file here and in the bucket; the same where there is none. Raises Refused."""
    path.unlink(missing_ok=True)
    if (source := bucket()) is not None:
        source.delete(_key(path))


def remove_folder(folder: Path) -> None:
    """Delete a folder here and in the bucket, its manifest first: what is half gone is not there. Raises Refused."""
    source = bucket()
    keys = [] if source is None else [key for key, _ in source.keys(f"{_key(folder)}/")]
    manifest = f"{_key(folder)}/{MANIFEST}"
    for key in sorted(keys, key=lambda key: key != manifest):
        source.delete(key)  # type: ignore[union-attr]
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def names(folder: Path) -> set[str]:
    """Names of the files in a folder, here or in the bucket. Raises Refused."""
    found = {p.name for p in folder.glob("*") if p.is_file()}
    if (source := bucket()) is not None:
        prefix = f"{_key(folder)}/"
        found |= {key.removeprefix(prefix) for key, _ in source.keys(prefix) if "/" not in key.removeprefix(prefix)}
    return {name for name in found if not name.startswith(UNFINISHED)}


def put_missing() -> tuple[int, int]:
    """Put what lies here and not in the bucket, as when a bucket is named for the first time; (put, there already)."""
    from serving.s3 import Refused

    to, root = bucket(), Path(settings.ENSO_ARTIFACTS)
    if to is None:
        raise Refused("no bucket is named: set ENSO_S3_BUCKET")
    there = dict(to.keys(settings.ENSO_S3_PREFIX))
    kept = put_ = 0
    for file in _files(root):
        parts = file.relative_to(root).parts
        hidden = parts[0] in OWN or any(part.startswith(UNFINISHED) for part in parts)
        if hidden or there.get(_key(file)) == file.stat().st_size:
            kept += not hidden
            continue
        to.put(_key(file), file.read_bytes())
        put_ += 1
    return put_, kept


def _fetch_folder(source: Bucket, path: Path) -> None:
    prefix = f"{_key(path)}/"
    keys = [key for key, _ in source.keys(prefix)]
    if f"{prefix}{MANIFEST}" not in keys:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=path.parent))
    try:
        for key in keys:
            data = source.get(key)
            if data is not None:
                write_file(staging / key.removeprefix(prefix), data)
        staging.chmod(0o755)
        with contextlib.suppress(OSError):  # another process was faster
            staging.rename(path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: (p.name == MANIFEST, p))


def _key(path: Path) -> str:
    return settings.ENSO_S3_PREFIX + path.relative_to(settings.ENSO_ARTIFACTS).as_posix()
