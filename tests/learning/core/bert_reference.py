"""An independent BERT forward pass in torch, as the oracle of the ONNX graphs.

Run as a program (``python -m tests.learning.core.bert_reference``) it writes the stored reference embeddings of the
default encoder: one text at a time, float64, no padding and no fused operator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional as nnf

TEXTS = [
    "My card was charged twice for order 4711, please refund one of the payments.",
    "Where is my parcel?",
    "I can't log in, the password reset e-mail never arrives!",
    "The blender arrived with a cracked lid and I would like a replacement.",
    "Please cancel my subscription at the end of the month.",
    "thanks, that solved it :)",
    "Do you ship to Switzerland, and what does express delivery cost (in EUR)?",
    "",
    "The support line kept me waiting for an hour. " * 40,
]


def sentence_embedding(
    tensors: Mapping[str, np.ndarray], ids: list[int], *, layers: int, heads: int, eps: float = 1e-12,
    positions_from: int = 0, pooling: str = "mean", activation: str = "gelu",
) -> np.ndarray:  # fmt: skip
    """Unit vector [hidden] of one tokenised text, in float64."""
    t = {k: torch.from_numpy(np.asarray(v)).double() for k, v in tensors.items()}
    n = len(ids)
    x = (
        t["embeddings.word_embeddings.weight"][ids]
        + t["embeddings.position_embeddings.weight"][positions_from : positions_from + n]
    )
    if "embeddings.token_type_embeddings.weight" in t:
        x = x + t["embeddings.token_type_embeddings.weight"][0]
    x = _norm(x, t, "embeddings.LayerNorm", eps)
    for i in range(layers):
        p = f"encoder.layer.{i}."
        q, k, v = (
            _linear(x, t, p + f"attention.self.{s}").view(n, heads, -1).transpose(0, 1)
            for s in ("query", "key", "value")
        )
        weights = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, dim=-1)
        context = (weights @ v).transpose(0, 1).reshape(n, -1)
        x = _norm(x + _linear(context, t, p + "attention.output.dense"), t, p + "attention.output.LayerNorm", eps)
        act = {"gelu": nnf.gelu, "relu": nnf.relu, "gelu_tanh": lambda z: nnf.gelu(z, approximate="tanh")}[activation]
        inner = act(_linear(x, t, p + "intermediate.dense"))
        x = _norm(x + _linear(inner, t, p + "output.dense"), t, p + "output.LayerNorm", eps)
    pooled = x[0] if pooling == "cls" else x.mean(dim=0)
    return (pooled / pooled.norm()).numpy()


def _linear(x: torch.Tensor, t: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    return nnf.linear(x, t[name + ".weight"], t.get(name + ".bias"))


def _norm(x: torch.Tensor, t: Mapping[str, torch.Tensor], name: str, eps: float) -> torch.Tensor:
    return nnf.layer_norm(x, x.shape[-1:], t[name + ".weight"], t[name + ".bias"], eps)


def main() -> None:
    from safetensors.numpy import load_file

    from learning.core.encoder_source import REFERENCES, package_source

    source: Path = package_source().directory
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    tensors = load_file(source / "model.safetensors")
    rows = [sentence_embedding(tensors, tokenizer.encode(text).ids, layers=6, heads=12) for text in TEXTS]
    lines = ",\n".join(json.dumps([round(float(v), 4) for v in row]) for row in rows)
    texts = json.dumps(TEXTS, ensure_ascii=False, indent=1)
    REFERENCES.write_text(f'{{"texts": {texts},\n"embeddings": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
