"""A transformer encoder: an ONNX graph that pools and normalises, and its ``tokenizer.json``.

Runs on onnxruntime and tokenizers alone. What it does not do: no token types, no pair inputs, no pooling outside the
graph. Graphs are made by ``learning.core.encoder_export``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from serving.encoder.cpu import has_dot_products
from serving.encoder.manifest import EncoderError, identity, read_manifest, verify_files
from serving.encoder.protocol import Embeddings
from serving.encoder.tokens import Tokens

BATCH = 64
# Padded tokens in one call: 64 long texts at once would take a gigabyte, and gain nothing on one core.
TOKENS = 2048


def session_options(threads: int) -> ort.SessionOptions:
    """Options for cores that are shared with the web server: no spinning threads, no second pool."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # The graph is written as it shall run: the extended optimisations would fuse sum and layer norm into a slower node.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.enable_cpu_mem_arena = False  # the arena keeps the memory of the longest batch ever seen
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if not has_dot_products():
        # The fast uint8 × int8 instructions saturate there: exact ones, which would cost half as much again elsewhere.
        options.add_session_config_entry("session.x64quantprecision", "1")
    options.log_severity_level = 3
    return options


class OnnxEncoder:
    """An encoder directory in memory. Thread-safe: onnxruntime sessions and tokenizers may be shared by threads."""

    def __init__(self, manifest: dict[str, Any], session: ort.InferenceSession, tokens: Tokens) -> None:
        self.manifest = manifest
        self.sha256 = identity(manifest)
        self.name = str(manifest["name"])
        self.dim = int(manifest["dim"])
        self._prefix = str(manifest.get("prefix", ""))
        self._pad = int(manifest["pad_id"])
        self._session = session
        self._tokens = tokens

    @classmethod
    def load(cls, directory: Path, *, threads: int = 1) -> OnnxEncoder:
        """Read, verify and open ``directory``; raises :class:`EncoderError` with the reason in one sentence."""
        manifest = read_manifest(directory)
        verify_files(directory, manifest)
        try:
            tokens = Tokens.open(directory / "tokenizer.json", int(manifest["max_tokens"]))
            session = ort.InferenceSession(
                str(directory / "model.onnx"), session_options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # both libraries raise plain Exception for a file that they cannot read
            raise EncoderError(f"The encoder at {directory} cannot be opened: {error}.") from error
        return cls(manifest, session, tokens)

    def encode(self, texts: Sequence[str]) -> Embeddings:
        """Unit rows [n, dim]; texts beyond ``max_tokens`` are cut at their end."""
        out = np.empty((len(texts), self.dim), np.float32)
        tokens = self._tokens([self._prefix + t for t in texts])
        for rows in _by_length(tokens):
            ids, mask = self._pad_to_longest([tokens[i] for i in rows])
            out[rows] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return out

    def _pad_to_longest(self, tokens: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        ids = np.full((len(tokens), max(map(len, tokens))), self._pad, np.int64)
        mask = np.zeros_like(ids)
        for row, t in enumerate(tokens):
            ids[row, : len(t)] = t
            mask[row, : len(t)] = 1
        return ids, mask


def _by_length(tokens: list[list[int]]) -> Iterator[np.ndarray]:
    """Row numbers in batches of similar length, so that little of a batch is padding; longest last in each."""
    lengths = np.array([len(t) for t in tokens])
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = order[start : start + BATCH]
        fits = int(np.searchsorted(np.arange(1, len(rows) + 1) * lengths[rows], TOKENS, side="right"))
        yield rows[: max(1, fits)]
        start += max(1, fits)
