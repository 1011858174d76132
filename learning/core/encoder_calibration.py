"""The spread of a transformer's activations on calibration texts, for quantisation with fixed scales.

The texts are a fixed file (customer inquiries and other prose in many languages), so that the same checkpoint always gives
the same int8 graph. Values beyond the spread seen here are clipped; the graph leaves some headroom.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tokenizers import Tokenizer

from learning.core.checkpoints import Checkpoint
from learning.core.encoder_graph import build_probe
from serving.encoder.transformer import session_options

# So many lines in a row also make one long text: positions far from the start have their own spread.
LINES_IN_LONG_TEXT = 12


def calibration_tokens(texts: Path, tokenizer: Path, max_tokens: int) -> list[list[int]]:
    """Token ids of each line, of the empty text, and of long texts made of neighbouring lines."""
    lines = texts.read_text(encoding="utf-8").splitlines()
    starts = range(0, len(lines), LINES_IN_LONG_TEXT)
    long = [" ".join(lines[i : i + LINES_IN_LONG_TEXT]) for i in starts]
    encoder = Tokenizer.from_file(str(tokenizer))
    encoder.no_padding()
    encoder.enable_truncation(max_tokens)
    return [e.ids for e in encoder.encode_batch(["", *lines, *long])]


def activation_ranges(checkpoint: Checkpoint, tokens: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """Largest magnitude [channels] of each activation that enters a matrix product, over ``tokens``."""
    model, names = build_probe(checkpoint)
    session = ort.InferenceSession(model.SerializeToString(), session_options(1), providers=["CPUExecutionProvider"])
    largest: dict[str, np.ndarray] = {}
    for ids in tokens:
        row = np.array([ids], np.int64)
        outputs = session.run(names, {"input_ids": row, "attention_mask": np.ones_like(row)})
        for name, values in zip(names, outputs, strict=True):
            seen = np.abs(values[0]).max(axis=0)
            largest[name] = np.maximum(largest[name], seen) if name in largest else seen
    return largest
