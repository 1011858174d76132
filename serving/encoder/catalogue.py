"""Where encoders live, and which one reads a text."""

from __future__ import annotations

import os
from pathlib import Path

from serving.encoder.language import is_latin, language_of
from serving.encoder.manifest import MANIFEST, EncoderError, read_manifest
from serving.encoder.ngram import NgramEncoder
from serving.encoder.protocol import Encoder
from serving.encoder.static import StaticEncoder
from serving.encoder.transformer import OnnxEncoder

DEFAULT_ENGLISH = "all-MiniLM-L6-v2-int8"
NGRAM = "ngram"
_WITHOUT_SPACES = frozenset({"ja", "zh", "ko"})


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


def default_encoder_for(text: str, locale: str = "") -> str:
    """The encoder's name: MiniLM for Latin script, n-grams for every other (MiniLM was trained on English)."""
    return NGRAM if language_of(text, locale) in _WITHOUT_SPACES or not is_latin(text) else DEFAULT_ENGLISH


def load_encoder(directory_or_name: str | Path = DEFAULT_ENGLISH, *, threads: int = 1) -> Encoder:
    """Open the encoder at a directory, or by its name under ``<home>/encoders``; ``ngram`` needs no files.

    Raises :class:`serving.encoder.EncoderError` with the reason in one sentence.
    """
    if str(directory_or_name) == NGRAM:
        return NgramEncoder()
    directory = encoder_directory(directory_or_name)
    kind = read_manifest(directory)["kind"]
    if kind == "static":
        return StaticEncoder.load(directory)
    if kind == "transformer":
        return OnnxEncoder.load(directory, threads=threads)
    raise EncoderError(f"The encoder at {directory} is of the unknown kind {kind!r}.")
