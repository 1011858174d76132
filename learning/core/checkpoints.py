"""Read a BERT-style checkpoint directory: sizes, tensors and pooling, under one set of names.

Follows the layout that sentence-transformers and transformers write (``config.json``, ``model.safetensors`` or
``pytorch_model.bin``, ``tokenizer.json``, ``modules.json``, ``1_Pooling/config.json``). Handles absolute positions with
post-layer-norm: the families in :data:`FAMILIES`. Does not handle relative positions (mpnet, deberta), rotary positions,
decoders, sharded weights, or sentence-transformers modules other than Transformer, Pooling and Normalize.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from serving.encoder.manifest import EncoderError, sha256_of_file

FAMILIES = ("bert", "roberta", "xlm-roberta", "distilbert")
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "relu": "relu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
SIZES = {
    "hidden": ("hidden_size", "dim"),
    "layers": ("num_hidden_layers", "n_layers"),
    "heads": ("num_attention_heads", "n_heads"),
}
# DistilBERT calls the same tensors by other names.
DISTILBERT_NAMES = (
    (r"^transformer\.layer\.", "encoder.layer."),
    (r"\.attention\.([qkv])_lin\.", lambda m: f".attention.self.{ {'q': 'query', 'k': 'key', 'v': 'value'}[m[1]] }."),
    (r"\.attention\.out_lin\.", ".attention.output.dense."),
    (r"\.sa_layer_norm\.", ".attention.output.LayerNorm."),
    (r"\.ffn\.lin1\.", ".intermediate.dense."),
    (r"\.ffn\.lin2\.", ".output.dense."),
    (r"\.output_layer_norm\.", ".output.LayerNorm."),
)


@dataclass(frozen=True)
class Checkpoint:
    """Weights and the few numbers that a graph needs. ``tensors`` has BERT's names without any prefix."""

    tensors: Mapping[str, np.ndarray]
    hidden: int
    layers: int
    heads: int
    activation: str
    epsilon: float
    positions_from: int
    """Row of the position table for the first token (RoBERTa starts after the padding row)."""
    pad_id: int
    max_tokens: int
    pooling: str
    """``mean`` over the attention mask, or ``cls``."""
    normalize: bool
    prefix: str
    """Written before each text, where the checkpoint names a default prompt."""
    licence: str
    weights_sha256: str


def read_checkpoint(directory: Path) -> Checkpoint:
    """Everything of ``directory`` that the graph needs; raises :class:`EncoderError` naming the field that stands in the way."""
    config = _json(directory / "config.json")
    family = config.get("model_type")
    if family not in FAMILIES:
        raise EncoderError(f"config.json: model_type {family!r} is not supported (supported: {', '.join(FAMILIES)}).")
    if (kind := config.get("position_embedding_type", "absolute")) != "absolute":
        raise EncoderError(f"config.json: position_embedding_type {kind!r} is not supported (supported: absolute).")
    hidden, layers, heads = (_size(config, name) for name in ("hidden", "layers", "heads"))
    if hidden % heads:
        raise EncoderError(f"config.json: hidden_size {hidden} is not a multiple of num_attention_heads {heads}.")
    weights = _weight_file(directory)
    tensors = canonical_names(_load(weights), family)
    _require(tensors, layers, weights.name)
    pooling, normalize = _modules(directory)
    positions_from = int(config.get("pad_token_id", 1)) + 1 if "roberta" in family else 0
    return Checkpoint(
        tensors, hidden, layers, heads, _activation(config), float(config.get("layer_norm_eps", 1e-12)), positions_from,
        int(config.get("pad_token_id") or 0), _max_tokens(directory, tensors, positions_from), pooling, normalize,
        _default_prompt(directory), _licence(directory), sha256_of_file(weights),
    )  # fmt: skip


def canonical_names(tensors: Mapping[str, np.ndarray], family: str) -> dict[str, np.ndarray]:
    """BERT's names, without the prefix that a task head put before them (``bert.``, ``roberta.`` …)."""
    plain = {re.sub(r"^(bert|roberta|distilbert|model|0\.auto_model)\.", "", k): v for k, v in tensors.items()}
    plain = {
        k.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias"): v
        for k, v in plain.items()
    }
    if family == "distilbert":
        for pattern, name in DISTILBERT_NAMES:
            plain = {re.sub(pattern, name, k): v for k, v in plain.items()}
    return plain


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EncoderError(
            f"{path} is missing: is this a sentence-transformers or Hugging Face model directory?"
        ) from None
    except ValueError as error:
        raise EncoderError(f"{path} is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise EncoderError(f"{path} must hold a JSON object.")
    return content


def _size(config: dict[str, Any], name: str) -> int:
    value = next((config[key] for key in SIZES[name] if key in config), None)
    if not isinstance(value, int) or value < 1:
        raise EncoderError(f"config.json: {SIZES[name][0]} must be a positive whole number, not {value!r}.")
    return value


def _activation(config: dict[str, Any]) -> str:
    name = config.get("hidden_act") or config.get("activation") or "gelu"
    if name not in ACTIVATIONS:
        raise EncoderError(f"config.json: hidden_act {name!r} is not supported (supported: {', '.join(ACTIVATIONS)}).")
    return ACTIVATIONS[name]


def _weight_file(directory: Path) -> Path:
    found = next((directory / name for name in WEIGHT_FILES if (directory / name).is_file()), None)
    if found is None:
        raise EncoderError(
            f"{directory} holds neither {' nor '.join(WEIGHT_FILES)} (sharded weights are not supported)."
        )
    return found


def _load(path: Path) -> dict[str, np.ndarray]:
    """All tensors in float32. Pickled checkpoints go through torch's weights-only reader, which runs no code."""
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(str(path), "pt" if _has_bfloat16(path) else "np") as f:
                return {k: _float32(f.get_tensor(k)) for k in f.keys()}  # noqa: SIM118 (not a dict)
        import torch

        return {k: _float32(v) for k, v in torch.load(path, map_location="cpu", weights_only=True).items()}
    except Exception as error:  # the readers raise many kinds for a damaged file
        raise EncoderError(f"{path} cannot be read: {error}.") from error


def _has_bfloat16(path: Path) -> bool:
    with path.open("rb") as handle:
        header = handle.read(int.from_bytes(handle.read(8), "little"))
    return b'"BF16"' in header


def _float32(tensor: Any) -> np.ndarray:
    array = tensor if isinstance(tensor, np.ndarray) else tensor.float().numpy()
    return np.ascontiguousarray(array, np.float32)


def _require(tensors: Mapping[str, np.ndarray], layers: int, file: str) -> None:
    names = ["embeddings.word_embeddings", "embeddings.position_embeddings", "embeddings.LayerNorm"]
    parts = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
             "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm")  # fmt: skip
    names += [f"encoder.layer.{i}.{part}" for i in range(layers) for part in parts]
    if missing := [f"{n}.weight" for n in names if f"{n}.weight" not in tensors]:
        raise EncoderError(f"{file} lacks the tensor {missing[0]} ({len(missing)} in all).")


def _modules(directory: Path) -> tuple[str, bool]:
    """(pooling, normalize). A plain transformers directory is mean-pooled and normalised."""
    if not (directory / "modules.json").is_file():
        return "mean", True
    modules = json.loads((directory / "modules.json").read_text(encoding="utf-8"))
    kinds = {str(m["type"]).rsplit(".", 1)[-1]: str(m["path"]) for m in modules}
    if unknown := kinds.keys() - {"Transformer", "Pooling", "Normalize"}:
        raise EncoderError(
            f"modules.json: the module {sorted(unknown)[0]} is not supported (supported: Transformer, Pooling, Normalize)."
        )
    return _pooling(
        directory / kinds["Pooling"] / "config.json"
    ) if "Pooling" in kinds else "mean", "Normalize" in kinds


def _pooling(path: Path) -> str:
    config = _json(path)
    chosen = [
        k.removeprefix("pooling_mode_") for k, on in config.items() if k.startswith("pooling_mode_") and on is True
    ]
    if isinstance(config.get("pooling_mode"), str):
        chosen = [config["pooling_mode"]]
    names = {"mean_tokens": "mean", "cls_token": "cls", "mean": "mean", "cls": "cls"}
    if len(chosen) != 1 or chosen[0] not in names:
        raise EncoderError(
            f"{path}: pooling_mode {' + '.join(chosen) or 'none'} is not supported (supported: mean, cls)."
        )
    return names[chosen[0]]


def _max_tokens(directory: Path, tensors: Mapping[str, np.ndarray], positions_from: int) -> int:
    """The directory's own limit (256 where it names none), never beyond the position table."""
    path = directory / "sentence_bert_config.json"
    wanted = _json(path).get("max_seq_length") if path.is_file() else None
    return min(int(wanted or 256), len(tensors["embeddings.position_embeddings.weight"]) - positions_from)


def _default_prompt(directory: Path) -> str:
    path = directory / "config_sentence_transformers.json"
    config = _json(path) if path.is_file() else {}
    return str((config.get("prompts") or {}).get(config.get("default_prompt_name") or "", ""))


def _licence(directory: Path) -> str:
    """The ``license:`` line of the model card's front matter, or ``unknown``."""
    card = directory / "README.md"
    found = re.search(r"^license:\s*(\S+)", card.read_text(encoding="utf-8"), re.MULTILINE) if card.is_file() else None
    return found[1] if found else "unknown"
