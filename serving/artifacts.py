"""Model bundles: immutable directories whose name is the hash of what they hold.

A bundle is ``<root>/<manifest sha256>/`` with ``manifest.json`` and the files that it lists, nothing else. The manifest
names each file with its size and sha256, so its own hash (over canonical JSON, without ``created_at``) covers every
byte that is served. A directory becomes visible by one rename after everything in it is on disk: a reader sees a whole
bundle or none. It holds no lock: two writers of the same content end with the same directory.

Not handled here: who may promote what (the registry), and upload to other storage.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FORMAT = "enso-bundle/1"
MANIFEST = "manifest.json"
UNFINISHED = ".unfinished-"
_OUTSIDE_THE_HASH = frozenset({"created_at"})  # the same content written twice is the same bundle
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


class CorruptBundle(Exception):
    """The directory is not the bundle that its manifest hash promises; the message names the file."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: ``path`` holds it, ``sha256`` is its manifest hash."""

    path: Path
    sha256: str
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def categories(self) -> tuple[str, ...]:
        """Category keys in the order of the probabilities."""
        return tuple(self.manifest["categories"])

    @property
    def size(self) -> int:
        """Bytes of all files, the manifest not counted."""
        return sum(int(entry["size"]) for entry in self.manifest["files"].values())

    def read(self, name: str) -> bytes:
        """The bytes of one file, checked again: what is used is what was promised. Raises CorruptBundle, KeyError."""
        entry = self.manifest["files"][name]
        data = _read(self.path / name)
        _check(name, self.path, size=len(data), sha256=hashlib.sha256(data).hexdigest(), entry=entry)
        return data


def manifest_sha256(manifest: Mapping[str, Any]) -> str:
    """Hash of the canonical JSON (sorted keys, no spaces, UTF-8, no NaN), without the fields that are not content."""
    content = {key: value for key, value in manifest.items() if key not in _OUTSIDE_THE_HASH}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def write_bundle(root: Path, files: Mapping[str, bytes], meta: Mapping[str, Any]) -> Bundle:
    """Write ``files`` and ``meta`` to ``<root>/<manifest sha256>``; writing the same again changes nothing.

    ``meta`` needs ``kind``; ``categories``, ``encoder_sha256``, ``temperature``, ``thresholds``, ``preprocessing`` and
    ``parent`` (the manifest hash of the version it came from) are filled in as empty when absent; more is allowed.
    A bundle of that name that does not verify any more is replaced. Raises ValueError for bad names or metadata,
    OSError when the disk refuses; nothing is visible then.
    """
    manifest = _manifest(files, meta)
    sha256 = manifest_sha256(manifest)
    target = root / sha256
    root.mkdir(parents=True, exist_ok=True)
    if (present := _intact(target, sha256)) is not None:
        return present
    staging = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=root))
    try:
        for name, data in files.items():
            _write_durably(staging / name, data)
        _write_durably(staging / MANIFEST, (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())
        staging.chmod(0o755)
        _sync_directory(staging)
        _publish(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return load_bundle(target, sha256)


def load_bundle(path: Path, expected_sha256: str) -> Bundle:
    """Open a bundle after reading every byte of it. Raises CorruptBundle with a sentence that names the file."""
    manifest = _parse(path)
    found = manifest_sha256(manifest)
    if found != expected_sha256:
        raise CorruptBundle(f"{MANIFEST} in {path} has the hash {found}, but {expected_sha256} was expected.")
    _check_listing(path, manifest["files"])
    for name, entry in manifest["files"].items():
        size, sha256 = _fingerprint(path / name)
        _check(name, path, size=size, sha256=sha256, entry=entry)
    return Bundle(path=path, sha256=found, manifest=manifest)


def remove_unfinished(root: Path, *, older_than_s: float = 86_400.0) -> int:
    """Delete what killed writers left behind in ``root``; returns how many directories went."""
    stale = [p for p in root.glob(UNFINISHED + "*") if time.time() - p.stat().st_mtime > older_than_s]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return len(stale)


def _manifest(files: Mapping[str, bytes], meta: Mapping[str, Any]) -> dict[str, Any]:
    if not meta.get("kind"):
        raise ValueError("a bundle needs a kind")
    bad = [name for name in files if not _NAME.fullmatch(name) or name == MANIFEST]
    if bad:
        raise ValueError(f"{bad[0]!r} cannot be the name of a file in a bundle")
    categories = list(meta.get("categories", []))
    if len(set(categories)) != len(categories):
        raise ValueError("a category is listed twice")
    defaults: dict[str, Any] = {
        "encoder_sha256": None,
        "temperature": 1.0,
        "thresholds": {},
        "preprocessing": {},
        "parent": None,
    }
    listing = {
        name: {"sha256": hashlib.sha256(files[name]).hexdigest(), "size": len(files[name])} for name in sorted(files)
    }
    stamp = {"created_at": datetime.now(UTC).isoformat(timespec="seconds")}
    made = {**defaults, **stamp, **meta, "categories": categories, "format": FORMAT, "files": listing}
    # A round trip through JSON: what is hashed now is what a reader will hash.
    return dict(json.loads(json.dumps(made, allow_nan=False)))


def _parse(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(_read(path / MANIFEST))
    except ValueError as error:
        raise CorruptBundle(f"{MANIFEST} in {path} is not JSON: {error}.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CorruptBundle(f"{MANIFEST} in {path} does not say that it is {FORMAT}.")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(_is_entry(name, entry) for name, entry in files.items()):
        raise CorruptBundle(f"{MANIFEST} in {path} does not list its files by name, sha256 and size.")
    return manifest


def _is_entry(name: str, entry: object) -> bool:
    if not _NAME.fullmatch(name) or not isinstance(entry, dict):
        return False
    return isinstance(entry.get("size"), int) and bool(_SHA256.fullmatch(str(entry.get("sha256"))))


def _check_listing(path: Path, files: Mapping[str, Any]) -> None:
    present = {p.name for p in path.iterdir()} - {MANIFEST}
    if missing := sorted(files.keys() - present):
        raise CorruptBundle(f"{missing[0]} is missing from {path}.")
    if extra := sorted(present - files.keys()):
        raise CorruptBundle(f"{extra[0]} in {path} is not listed in its {MANIFEST}.")


def _check(name: str, path: Path, *, size: int, sha256: str, entry: Mapping[str, Any]) -> None:
    if size != entry["size"]:
        raise CorruptBundle(f"{name} in {path} has {size} bytes, but its {MANIFEST} says {entry['size']}.")
    if sha256 != entry["sha256"]:
        raise CorruptBundle(f"{name} in {path} was changed: its sha256 is {sha256}, not {entry['sha256']}.")


def _read(path: Path) -> bytes:
    return b"".join(_chunks(path))


def _fingerprint(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(path):
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    if path.is_symlink():
        raise CorruptBundle(f"{path.name} in {path.parent} is a symbolic link, not a file.")
    try:
        with path.open("rb") as handle:
            while chunk := handle.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise CorruptBundle(f"{path.name} in {path.parent} cannot be read: {error.strerror}.") from error


def _intact(path: Path, sha256: str) -> Bundle | None:
    if not path.exists():
        return None
    try:
        return load_bundle(path, sha256)
    except CorruptBundle:
        return None


def _publish(staging: Path, target: Path) -> None:
    try:
        staging.rename(target)
    except OSError:
        if _intact(target, target.name) is not None:
            return  # another writer of the same content was faster
        if not target.exists():
            raise
        damaged = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=target.parent))
        target.rename(damaged / "damaged")
        staging.rename(target)
        shutil.rmtree(damaged, ignore_errors=True)
    _sync_directory(target.parent)


def write_file(path: Path, data: bytes) -> None:
    """Make a file visible whole or not at all, and durable before it is visible."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=UNFINISHED, dir=path.parent)
    os.close(handle)
    try:
        _write_durably(Path(name), data)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    _sync_directory(path.parent)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
