"""Small random checkpoints in the layouts that sentence-transformers and transformers write."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "my",
    "parcel",
    "is",
    "late",
    "money",
    "back",
    "please",
    "where",
    "order",
    "a",
]
HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 16, 2, 4, 32, 40


def bert_tensors(rng: np.random.Generator, *, types: bool = True) -> dict[str, np.ndarray]:
    def linear(out: int, into: int, name: str) -> dict[str, np.ndarray]:
        return {f"{name}.weight": rng.normal(0, 0.3, (out, into)), f"{name}.bias": rng.normal(0, 0.1, out)}

    def norm(name: str) -> dict[str, np.ndarray]:
        return {f"{name}.weight": rng.normal(1, 0.1, HIDDEN), f"{name}.bias": rng.normal(0, 0.1, HIDDEN)}

    tensors = {
        "embeddings.word_embeddings.weight": rng.normal(0, 1, (len(WORDS), HIDDEN)),
        "embeddings.position_embeddings.weight": rng.normal(0, 0.3, (POSITIONS, HIDDEN)),
        **norm("embeddings.LayerNorm"),
    }
    if types:
        tensors["embeddings.token_type_embeddings.weight"] = rng.normal(0, 0.3, (2, HIDDEN))
    for i in range(LAYERS):
        p = f"encoder.layer.{i}."
        for part in ("query", "key", "value"):
            tensors |= linear(HIDDEN, HIDDEN, f"{p}attention.self.{part}")
        tensors |= linear(HIDDEN, HIDDEN, f"{p}attention.output.dense") | norm(f"{p}attention.output.LayerNorm")
        tensors |= linear(INNER, HIDDEN, f"{p}intermediate.dense") | linear(HIDDEN, INNER, f"{p}output.dense")
        tensors |= norm(f"{p}output.LayerNorm")
    return {k: v.astype(np.float32) for k, v in tensors.items()}


def bert_config(**changes: object) -> dict[str, object]:
    config = {
        "model_type": "bert", "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0, "vocab_size": len(WORDS),
    }  # fmt: skip
    return {k: v for k, v in (config | changes).items() if v is not None}


def tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def write_checkpoint(
    directory: Path, tensors: dict[str, np.ndarray], *, config: dict[str, object] | None = None,
    pooling: dict[str, object] | None = None, modules: list[str] | None = None,
) -> Path:  # fmt: skip
    """A directory as sentence-transformers saves it; without ``modules`` as transformers does."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config or bert_config()))
    save_file(tensors, directory / "model.safetensors")
    tokenizer().save(str(directory / "tokenizer.json"))
    if modules is not None:
        paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize", "Dense": "2_Dense"}
        entries = [
            {"idx": i, "path": paths[m], "type": f"sentence_transformers.models.{m}"} for i, m in enumerate(modules)
        ]
        (directory / "modules.json").write_text(json.dumps(entries))
    if pooling is not None:
        (directory / "1_Pooling").mkdir()
        (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return directory
