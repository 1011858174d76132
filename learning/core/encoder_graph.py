"""The ONNX graph of a BERT-style sentence encoder, written node by node from the tensors.

BERT (arXiv:1810.04805): embeddings, layers of multi-head attention and feed-forward, each with residual and
layer norm after; then mean (or first-token) pooling over the attention mask and L2 normalisation inside the graph, so
that serving holds no mathematics. Nodes are onnxruntime's fused ones (attention, gelu, products of bytes with their bias)
where these are faster; its skip + layer norm is not (31 µs for 15 tokens of 384, sum and layer norm apart 5). So the graph needs
no optimiser pass, which would fuse those again (``serving.encoder.transformer`` switches it off), and the bytes are the same
each time.

int8 is symmetric per output channel for weights and per row for the token table. Activations are quantised with a fixed
scale per *input* channel, found on calibration texts, whose spread is shared between activation and weight
(SmoothQuant, arXiv:2211.10438, here without its folding into the layer norm, which the residual of a post-norm layer
forbids). Fixed scales make the embedding of a text independent of its batch; with scales taken at run time from the
whole batch (``int8_dynamic``, the usual recipe) a text alone and the same text in a batch differ by up to .02 in cosine.
``int8_tensor`` (one scale per weight matrix, the default of quantisation tools) is kept for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from learning.core.checkpoints import Checkpoint

VARIANTS = ("fp32", "int8", "int8_dynamic", "int8_tensor")
OPSET, IR_VERSION = 18, 9
FUSED = "com.microsoft"
# Share of an input channel's spread that the activation scale takes, the weights take the rest; headroom over calibration.
MIGRATION, HEADROOM = 0.8, 1.15


def quantize_columns(weight: np.ndarray, *, per_tensor: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 of ``weight`` [in, out]: (values int8 [in, out], scales float32 [out]), weight ≈ values · scales."""
    largest = np.abs(weight).max(axis=0)
    if per_tensor:
        largest = np.full_like(largest, largest.max())
    scales = (np.maximum(largest, 1e-12) / 127).astype(np.float32)
    return np.clip(np.rint(weight / scales), -127, 127).astype(np.int8), scales


def quantize_rows(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 of an embedding table [rows, dim]: (values [rows, dim], scales [rows, 1])."""
    values, scales = quantize_columns(np.ascontiguousarray(table.T))
    return np.ascontiguousarray(values.T), scales[:, None]


def channel_scales(largest: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Activation scale [in] per input channel: x / scale fits int8 for |x| ≤ headroom · ``largest`` [in].

    ``weight`` [in, out] is to be multiplied by it. SmoothQuant's rule s = a^m / w^(1-m), stretched so that the widest
    channel uses the whole range.
    """
    spread = np.maximum(largest * HEADROOM, 1e-6)
    smooth = spread**MIGRATION / np.maximum(np.abs(weight).max(axis=1), 1e-8) ** (1 - MIGRATION)
    return np.asarray(smooth * (spread / smooth).max() / 127, np.float32)


class GraphBuilder:
    """Collects nodes and initialisers; every method returns the name of the tensor that it made."""

    def __init__(self, checkpoint: Checkpoint, variant: str, ranges: Mapping[str, np.ndarray]) -> None:
        if variant not in VARIANTS:
            raise ValueError(f"variant must be one of {VARIANTS}, not {variant!r}")
        self.ranges = ranges
        self.activations: list[str] = []
        self.checkpoint = checkpoint
        self.variant = variant
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, array: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, domain=domain, **attributes))
        return output

    def tensor(self, name: str) -> np.ndarray:
        """A checkpoint tensor; a linear layer without bias has a bias of zeros."""
        found = self.checkpoint.tensors.get(name)
        if found is None and name.endswith(".bias"):
            return np.zeros(len(self.checkpoint.tensors[name.removesuffix("bias") + "weight"]), np.float32)
        assert found is not None, name
        return found

    def linear(self, x: str, layers: Sequence[str], output: str) -> str:
        """``x @ weightᵀ + bias`` of linear layers side by side, weights [out, in] quantised where the variant says so."""
        w = np.ascontiguousarray(np.concatenate([self.tensor(f"{name}.weight") for name in layers]).T)
        bias = self.constant(f"{output}.bias", np.concatenate([self.tensor(f"{name}.bias") for name in layers]))
        self.activations.append(x)
        if self.variant == "fp32":
            product = self.node("MatMul", [x, self.constant(f"{output}.weight", w)], f"{output}.product")
            return self.node("Add", [product, bias], output)
        if self.variant == "int8":
            return self.linear_fixed(x, w, bias, output)
        values, scales = quantize_columns(w, per_tensor=self.variant == "int8_tensor")
        return self.node("DynamicQuantizeMatMul", [x, *self.quantized(output, values, scales), bias], output, FUSED)

    def quantized(self, output: str, values: np.ndarray, scales: np.ndarray) -> list[str]:
        return [
            self.constant(f"{output}.weight", values),
            self.constant(f"{output}.scale", scales),
            self.constant(f"{output}.zero", np.zeros(len(scales), np.int8)),
        ]

    def linear_fixed(self, x: str, w: np.ndarray, bias: str, output: str) -> str:
        """``x @ w + bias`` for ``w`` [in, out] with the activation in uint8 (zero at 128) by fixed scales per input channel."""
        scales = channel_scales(self.ranges[x], w)
        weight, scale, zero = self.quantized(output, *quantize_columns(w * scales[:, None]))
        one = self.constant(f"{output}.one", np.array(1, np.float32))
        centre = self.constant(f"{output}.centre", np.array(128, np.uint8))
        scaled = self.node("Mul", [x, self.constant(f"{output}.inverse", 1 / scales)], f"{output}.scaled")
        small = self.node("QuantizeLinear", [scaled, one, centre], f"{output}.uint8")
        return self.node("MatMulIntegerToFloat", [small, weight, one, scale, centre, zero, bias], output, FUSED)

    def add_and_norm(self, x: str, skip: str, norm: str, output: str) -> str:
        inputs = [self.node("Add", [x, skip], f"{output}.sum")]
        inputs += [self.constant(f"{norm}.{part}", self.tensor(f"{norm}.{part}")) for part in ("weight", "bias")]
        return self.node("LayerNormalization", inputs, output, epsilon=self.checkpoint.epsilon)

    def embeddings(self) -> str:
        table = self.tensor("embeddings.word_embeddings.weight")
        if self.variant == "fp32":
            words = self.node("Gather", [self.constant("words", table), "input_ids"], "word_rows")
        else:
            values, scales = quantize_rows(table)
            rows = self.node("Gather", [self.constant("words", values), "input_ids"], "word_rows")
            scale = self.node("Gather", [self.constant("words.scale", scales), "input_ids"], "word_scales")
            words = self.node(
                "Mul", [self.node("Cast", [rows], "word_values", to=TensorProto.FLOAT), scale], "word_vectors"
            )
        return self.add_and_norm(words, self.positions(), "embeddings.LayerNorm", "embedded")

    def positions(self) -> str:
        """Position rows [tokens, hidden], with the row of token type 0 (the only one used) added in."""
        table = self.tensor("embeddings.position_embeddings.weight")[self.checkpoint.positions_from :]
        types = self.checkpoint.tensors.get("embeddings.token_type_embeddings.weight")
        table = table[: self.checkpoint.max_tokens] + (0 if types is None else types[0])
        length = self.node("Shape", ["input_ids"], "length", start=1, end=2)
        start = self.constant("start", np.array([0], np.int64))
        return self.node("Slice", [self.constant("positions", table), start, length, start], "position_rows")

    def layer(self, index: int, x: str) -> str:
        p = f"encoder.layer.{index}."
        attended = self.linear(self.attention(p, x), [p + "attention.output.dense"], p + "attention.output")
        x = self.add_and_norm(attended, x, p + "attention.output.LayerNorm", p + "attended")
        inner = self.linear(x, [p + "intermediate.dense"], p + "intermediate")
        outer = self.linear(self.activation(inner, p + "activated"), [p + "output.dense"], p + "feed_forward")
        return self.add_and_norm(outer, x, p + "output.LayerNorm", p + "out")

    def attention(self, p: str, x: str) -> str:
        parts = [p + f"attention.self.{part}" for part in ("query", "key", "value")]
        packed = self.linear(x, parts, p + "qkv")
        self.nodes.append(helper.make_node("Split", [packed], parts, name=p + "split", axis=2, num_outputs=3))
        inputs = [*parts, "", "mask"]  # the bias is in already
        return self.node("MultiHeadAttention", inputs, p + "context", FUSED, num_heads=self.checkpoint.heads)

    def activation(self, x: str, output: str) -> str:
        if self.checkpoint.activation == "relu":
            return self.node("Relu", [x], output)
        return self.node("Gelu" if self.checkpoint.activation == "gelu" else "FastGelu", [x], output, FUSED)

    def pool(self, x: str) -> str:
        """Sentence vectors [n, hidden] from token vectors [n, tokens, hidden]."""
        axis = self.constant("axis", np.array([1], np.int64))
        if self.checkpoint.pooling == "cls":
            first = self.constant("first", np.array(0, np.int64))
            return self.node("Gather", [x, first], "pooled", axis=1)
        weights = self.node("Cast", ["attention_mask"], "weights", to=TensorProto.FLOAT)
        total = self.node("MatMul", [self.node("Unsqueeze", [weights, axis], "weight_rows"), x], "total")
        count = self.node("ReduceSum", [weights, axis], "count", keepdims=1)
        return self.node("Div", [self.node("Squeeze", [total, axis], "sum"), count], "pooled")

    def build(self) -> onnx.ModelProto:
        self.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
        x = self.embeddings()
        for index in range(self.checkpoint.layers):
            x = self.layer(index, x)
        # Enso's distances assume unit vectors, whether or not the checkpoint lists a Normalize module.
        self.node("LpNormalization", [self.pool(x)], "embedding", axis=1, p=2)
        inputs = [
            helper.make_tensor_value_info(n, TensorProto.INT64, ["n", "tokens"])
            for n in ("input_ids", "attention_mask")
        ]
        output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", self.checkpoint.hidden])
        graph = helper.make_graph(self.nodes, "encoder", inputs, [output], self.initializers)
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="enso")


def build_graph(
    checkpoint: Checkpoint, variant: str, ranges: Mapping[str, np.ndarray] | None = None
) -> onnx.ModelProto:
    """The graph: ``input_ids``, ``attention_mask`` int64 [n, tokens] → ``embedding`` float32 [n, hidden], unit rows.

    ``int8`` needs ``ranges``: the largest magnitude per channel of each activation (``encoder_calibration``).
    """
    return GraphBuilder(checkpoint, variant, ranges or {}).build()


def build_probe(checkpoint: Checkpoint) -> tuple[onnx.ModelProto, list[str]]:
    """The fp32 graph that also gives the activations before each matrix product, and their names."""
    builder = GraphBuilder(checkpoint, "fp32", {})
    model = builder.build()
    names = list(dict.fromkeys(builder.activations))
    model.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names)
    return model, names
