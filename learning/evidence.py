"""Evidence that outlives a check: manifests (ids, never texts) and calibrations, each under its own name on disk."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from serving import storage


def keep(manifest: Mapping[str, Any]) -> str:
    """Write a manifest under its SHA-256, once; returns the hash."""
    content = msgspec.json.encode(manifest, order="sorted")
    sha = hashlib.sha256(content).hexdigest()
    _write(place(f"{sha}.json"), lambda file: file.write(content))
    return sha


def read(sha256: str) -> dict[str, Any]:
    """A kept manifest; LookupError where its file is gone or is not what its hash says."""
    try:
        content = storage.local(place(f"{sha256}.json")).read_bytes()
    except OSError as error:
        raise LookupError(f"evidence {sha256[:12]} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise LookupError(f"evidence {sha256[:12]} was changed")
    return dict(msgspec.json.decode(content))


def keep_arrays(name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays under a name that says all that they depend on, once."""
    _write(place(f"{name}.npz"), lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def read_arrays(name: str) -> dict[str, NDArray[Any]] | None:
    """Kept arrays, or None where there are none of that name (or the file is damaged: they can be made again)."""
    try:
        with np.load(storage.local(place(f"{name}.npz"))) as kept:
            return dict(kept)
    except (OSError, ValueError):
        return None


def place(name: str) -> Path:
    return Path(settings.ENSO_ARTIFACTS) / "drift" / name


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    if storage.local(path).exists():
        return
    buffer = io.BytesIO()
    write(buffer)
    storage.write(path, buffer.getvalue())
