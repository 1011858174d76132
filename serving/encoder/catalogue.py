"""Where encoders live, and which one reads a text."""

from __future__ import annotations

import os
from pathlib import Path

from serving.encoder.manifest import MANIFEST
from serving.encoder.protocol import Encoder
from serving.encoder.transformer import OnnxEncoder

DEFAULT_ENGLISH = "all-MiniLM-L6-v2-int8"


def enso_home() -> Path:
    """``$ENSO_HOME``, or ``.enso`` beside the sources."""
    chosen = os.environ.get("ENSO_HOME")
    return Path(chosen).expanduser().resolve() if chosen else Path(__file__).resolve().parents[2] / ".enso"


def encoder_directory(directory_or_name: str | Path) -> Path:
    """A path as it stands, a bare name under ``<home>/encoders``."""
    path = Path(directory_or_name)
    if len(path.parts) > 1 or (path / MANIFEST).is_file():
        return path
    return enso_home() / "encoders" / path


def load_encoder(directory_or_name: str | Path = DEFAULT_ENGLISH, *, threads: int = 1) -> Encoder:
    """Open the encoder at a directory, or by its name under ``<home>/encoders``; raises :class:`EncoderError`."""
    return OnnxEncoder.load(encoder_directory(directory_or_name), threads=threads)
