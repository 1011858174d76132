"""The encoder directory: ``encoder.json`` names the files, their hashes and how texts are fed to the graph.

An encoder *variant* (fp32, int8, student) is identified by one sha256 over the canonical manifest, which holds the
hashes of its files: heads, temperatures and thresholds are fitted on one variant and name it by this value.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

FORMAT = 1
MANIFEST = "encoder.json"


class EncoderError(Exception):
    """An encoder cannot be built or loaded; the message is one sentence for a person."""


def sha256_of_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def canonical_json(content: dict[str, Any]) -> bytes:
    """One byte string per content: sorted keys, no spaces, UTF-8."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def identity(manifest: dict[str, Any]) -> str:
    """The sha256 that stands for the variant everywhere else."""
    return sha256_of_bytes(canonical_json(manifest))


def read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of ``directory``; raises :class:`EncoderError` when it is missing, broken or from another format."""
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EncoderError(
            f"No encoder at {directory}: {MANIFEST} is missing (run `manage.py build_encoder`)."
        ) from None
    except (OSError, ValueError) as error:
        raise EncoderError(f"The encoder at {directory} has an unreadable {MANIFEST}: {error}.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise EncoderError(f"The encoder at {directory} has format {found!r}; this version reads format {FORMAT}.")
    missing = {"name", "kind", "dim", "variant", "files"} - manifest.keys()
    if missing:
        raise EncoderError(f"The {MANIFEST} at {directory} lacks {', '.join(sorted(missing))}.")
    return manifest


def verify_files(directory: Path, manifest: dict[str, Any]) -> None:
    """Compare every file with its hash; raises :class:`EncoderError` naming the first that differs."""
    for name, expected in sorted(manifest["files"].items()):
        path = directory / name
        if not path.is_file():
            raise EncoderError(f"The encoder at {directory} lacks {name} (run `manage.py build_encoder --force`).")
        if sha256_of_file(path) != expected:
            raise EncoderError(
                f"{name} of the encoder at {directory} does not match its sha256 (run `manage.py build_encoder --force`)."
            )
