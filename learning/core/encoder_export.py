"""Make an encoder directory (``model.onnx``, ``tokenizer.json``, ``encoder.json``) from a checkpoint, and check it.

The directory appears whole or not at all: it is written beside its place and renamed. The default encoder comes from an
unofficial repack, so its embeddings of a few fixed texts are compared with stored ones (made by an independent forward
pass): other weights under the same name are refused.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from learning.core.checkpoints import Checkpoint, read_checkpoint
from learning.core.encoder_calibration import activation_ranges, calibration_tokens
from learning.core.encoder_graph import build_graph
from learning.core.encoder_source import LEAST_COSINE, REFERENCES, Source
from serving.encoder.manifest import FORMAT, MANIFEST, EncoderError, identity, sha256_of_bytes
from serving.encoder.transformer import OnnxEncoder

CALIBRATION = Path(__file__).with_name("calibration_texts.txt")
Report = Callable[[str], None]


def export_encoder(
    source: Source, output: Path, *, variant: str, name: str, report: Report = lambda _: None,
    checkpoint: Checkpoint | None = None,
) -> str:  # fmt: skip
    """Build ``output`` and return the variant's sha256; an encoder that stands there is replaced.

    ``checkpoint``: what to write in place of the source's own weights (tuned ones).

    Raises :class:`EncoderError` when the checkpoint is not supported or the result fails its check; then nothing is left
    behind and nothing is replaced.
    """
    if checkpoint is None:
        report(f"reading {source.directory}")
        checkpoint = read_checkpoint(source.directory)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        part.chmod(0o755)
        report(f"writing the {variant} graph ({checkpoint.layers} layers, {checkpoint.hidden} dimensions)")
        manifest = _write(part, source, checkpoint, variant=variant, name=name)
        report("checking its embeddings")
        _check(part, source, checkpoint, variant)
        _replace(part, output)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return identity(manifest)


def _write(part: Path, source: Source, checkpoint: Checkpoint, *, variant: str, name: str) -> dict[str, Any]:
    """Write the three files; returns the manifest."""
    tokenizer = source.directory / "tokenizer.json"
    if not tokenizer.is_file():
        raise EncoderError(f"{tokenizer} is missing: save the tokenizer in its fast form (`tokenizer.json`) first.")
    files = {"model.onnx": _graph(checkpoint, variant, tokenizer), "tokenizer.json": tokenizer.read_bytes()}
    for file, content in files.items():
        (part / file).write_bytes(content)
    manifest = {
        "format": FORMAT,
        "kind": "transformer",
        "name": name,
        "variant": variant,
        "dim": checkpoint.hidden,
        "max_tokens": checkpoint.max_tokens,
        "pad_id": checkpoint.pad_id,
        "pooling": checkpoint.pooling,
        "prefix": checkpoint.prefix,
        "lowercase": _lowercases(files["tokenizer.json"]),
        "files": {file: sha256_of_bytes(content) for file, content in files.items()},
        "source": {
            "model": source.name,
            "origin": source.origin,
            "version": source.version,
            "licence": checkpoint.licence,
            "weights_sha256": checkpoint.weights_sha256,
        },
    }
    (part / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return manifest


def _graph(checkpoint: Checkpoint, variant: str, tokenizer: Path) -> bytes:
    """The serialised graph: the same bytes for the same checkpoint."""
    ranges = None
    if variant == "int8":
        ranges = activation_ranges(checkpoint, calibration_tokens(CALIBRATION, tokenizer, checkpoint.max_tokens))
    try:
        return bytes(build_graph(checkpoint, variant, ranges).SerializeToString(deterministic=True))
    except ValueError as error:  # protobuf's limit of 2 GiB
        raise EncoderError(f"The graph cannot be written: {error}.") from error


def _lowercases(tokenizer: bytes) -> bool:
    normalizer = json.dumps(json.loads(tokenizer).get("normalizer") or {})
    return '"lowercase": true' in normalizer or '"type": "Lowercase"' in normalizer


def _check(part: Path, source: Source, checkpoint: Checkpoint, variant: str) -> None:
    """Against stored references where there are some, else a quantised graph against the same checkpoint in fp32."""
    stored = json.loads((source.references or REFERENCES).read_text(encoding="utf-8"))
    found = OnnxEncoder.load(part).encode(stored["texts"])
    if not np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3):
        raise EncoderError("The graph does not give unit vectors: the checkpoint's weights are damaged.")
    if source.references is not None:
        expected, what, hint = np.array(stored["embeddings"], np.float32), "the stored reference embeddings", ""
    elif variant != "fp32":
        expected = _embed_in_fp32(part, source, checkpoint, stored["texts"])
        what, hint = "its own fp32 form", " (build it with --variant fp32)"
    else:
        return
    cosine = float(((found * expected).sum(axis=1) / np.linalg.norm(expected, axis=1)).min())
    if not cosine >= LEAST_COSINE[variant]:
        least = LEAST_COSINE[variant]
        raise EncoderError(f"The {variant} encoder has cosine {cosine:.4f} to {what}, below {least}{hint}.")


def _embed_in_fp32(part: Path, source: Source, checkpoint: Checkpoint, texts: list[str]) -> np.ndarray:
    with tempfile.TemporaryDirectory(dir=part) as scratch:
        _write(Path(scratch), replace(source, references=None), checkpoint, variant="fp32", name="fp32")
        return OnnxEncoder.load(Path(scratch)).encode(texts)


def _replace(part: Path, output: Path) -> None:
    """Put ``part`` where ``output`` stands; a directory cannot be renamed over another, so the old one steps aside."""
    old = part.with_name(part.name + "-old")
    if output.exists():
        output.rename(old)
    part.rename(output)
    shutil.rmtree(old, ignore_errors=True)
