"""Encryption of personal data at rest: Fernet (AES-128-CBC with HMAC-SHA256) under one or more keys, the newest first.

The keys come from ENSO_VAULT_KEYS or from a file of mode 0600 that the first use makes. Whoever has a backup of the
database but not the keys can read nothing; whoever loses the keys has lost the originals, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from feedback.masking import CUT, Masked


class Pair(msgspec.Struct, frozen=True, array_like=True):
    """One value that was taken out of a text, by the placeholder that stands for it. In the order of the text."""

    placeholder: str
    kind: str
    original: str


class Unreadable(Exception):
    """No key of the vault opens this: a key was lost or removed too early."""


def seal(masked: Masked) -> bytes:
    """What a masked text no longer holds, encrypted; cards and IBANs are not in it."""
    return seal_all([masked])[0]


def seal_all(texts: Sequence[Masked]) -> list[bytes]:
    """The same for many: the file of the keys is looked at once."""
    if not texts:
        return []
    encrypt = _fernet().encrypt
    pairs = [[Pair(f.placeholder, f.kind, f.original) for f in m.found if f.kind not in CUT] for m in texts]
    return [encrypt(msgspec.json.encode(p)) for p in pairs]


def seal_text(text: str) -> bytes:
    return _fernet().encrypt(text.encode())


def unseal(sealed: bytes) -> list[Pair]:
    """Raises Unreadable when no key fits."""
    return msgspec.json.decode(_open(sealed), type=list[Pair])


def unseal_text(sealed: bytes) -> str:
    return _open(sealed).decode()


def resealed(sealed: bytes) -> bytes:
    """The same under the newest key."""
    try:
        return _fernet().rotate(bytes(sealed))
    except InvalidToken as error:
        raise Unreadable from error


def restored(text: str, pairs: list[Pair]) -> str:
    """A masked text with its originals in their places."""
    parts, at = [], 0
    for pair in pairs:
        found = text.find(pair.placeholder, at)
        if found < 0:
            continue
        parts += [text[at:found], pair.original]
        at = found + len(pair.placeholder)
    return "".join([*parts, text[at:]])


def _open(sealed: bytes) -> bytes:
    try:
        return _fernet().decrypt(bytes(sealed))
    except InvalidToken as error:
        raise Unreadable from error


def _fernet() -> MultiFernet:
    return _fernet_of(keys())


@lru_cache(maxsize=4)
def _fernet_of(given: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in given])


def keys() -> tuple[str, ...]:
    """The keys, newest first: those of the environment, or those of the file."""
    if settings.ENSO_VAULT_KEYS:
        return tuple(settings.ENSO_VAULT_KEYS)
    return _read(Path(settings.ENSO_VAULT_FILE))


def _read(path: Path) -> tuple[str, ...]:
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        _write_new(path)
        return _parsed(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _parsed(path: Path, version: int) -> tuple[str, ...]:
    """Read again when the file changes: a running process takes a rotated key at its next use."""
    return tuple(path.read_text().split())


def _write_new(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = _beside(path, [Fernet.generate_key().decode()])
    # A hard link appears whole or not at all, and never over the key of a process that was first.
    with contextlib.suppress(FileExistsError):
        path.hardlink_to(fresh)
    fresh.unlink()


def _beside(path: Path, lines: list[str]) -> Path:
    """A file of its own for each caller, threads of one process included, that the server's account alone can read."""
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w") as fresh:
        fresh.write("\n".join([*lines, ""]))
    return Path(name)


def add_key() -> None:
    """Put a fresh key before the others of the file; those stay, to read what is not yet rewritten."""
    path = Path(settings.ENSO_VAULT_FILE)
    _beside(path, [Fernet.generate_key().decode(), *_read(path)]).replace(path)


def drop_old_keys() -> None:
    """Keep the newest key of the file alone, once everything is under it."""
    path = Path(settings.ENSO_VAULT_FILE)
    _beside(path, [_read(path)[0]]).replace(path)
