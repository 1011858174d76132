"""An adapter merged into its base, as one ONNX graph: token ids [n, t] → logits of the token that follows [n, vocabulary].

The weights lie beside the graph, so that its size is not bounded by the 2 GB of one protobuf. There is no cache of keys and
values: each token reads the text before it anew. A draft waits for an agent, not for a customer, and the graph stays one that
every causal model has.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from safetensors.torch import save
from torch import Tensor

from learning.core.language.base import LanguageModelError

GRAPH, WEIGHTS, ADAPTER = "model.onnx", "model.onnx.data", "adapter.safetensors"
PARITY = 1e-4  # largest difference of a probability that the gate lets pass


class _NextToken(torch.nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, use_cache=False).logits[:, -1]
        return logits


def export(
    model: Any, adapter: dict[str, Tensor], check_on: Sequence[tuple[int, ...]]
) -> tuple[dict[str, bytes], float]:
    """Files of the merged model and of its adapter, and the largest difference of a next-token probability.

    ``model`` is consumed: its adapter is merged into it. ``check_on`` are token rows of any lengths. Raises
    LanguageModelError where the model cannot be exported.
    """
    merged = _NextToken(model.merge_and_unload()).eval()
    example = torch.tensor([check_on[0][:8] or (0,)] * 2)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / GRAPH
        try:
            torch.onnx.export(
                merged, (example,), str(path), input_names=["input_ids"], output_names=["logits"], dynamo=True,
                dynamic_shapes={"input_ids": {0: "n", 1: "t"}}, external_data=True, verbose=False,
            )  # fmt: skip
        except Exception as error:  # the exporter raises what the model's own code raises
            raise LanguageModelError(f"The merged model cannot be exported: {error}") from error
        gap = _difference(merged, path, check_on)
        files = {name: (Path(place) / name).read_bytes() for name in (GRAPH, WEIGHTS) if (Path(place) / name).is_file()}
    return {**files, ADAPTER: save({name: t.contiguous() for name, t in adapter.items()})}, gap


def _difference(merged: torch.nn.Module, path: Path, check_on: Sequence[tuple[int, ...]]) -> float:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for ids in check_on:
        row = torch.tensor([ids])
        with torch.no_grad():
            wanted = torch.softmax(merged(row), dim=-1).numpy()
        (logits,) = session.run(None, {"input_ids": row.numpy()})
        given = torch.softmax(torch.as_tensor(np.asarray(logits)), dim=-1).numpy()
        worst = max(worst, float(np.abs(given - wanted).max()))
    return worst
