"""From a trained head to the ONNX graph that is served, and the proof that both say the same.

The graph holds the feature map, and the pool of a head that looks up neighbours; weights, bias and temperature are inputs
(see serving/head.py). Its bytes depend on nothing else: no names, dates or versions of the exporting library.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from learning.core.calibration import softmax
from learning.core.heads.features import FeatureMap
from learning.core.heads.graph import SHARPENING
from learning.core.heads.neighbours import REST, SMALLEST, NeighbourScores
from serving.head import FEATURES_KEY, NEIGHBOURS_KEY, OnnxHead

OPSET, IR_VERSION = 17, 8
TOLERANCE = 1e-5


class ParityError(Exception):
    """The exported head does not give the probabilities of the trained one; the message names the worst row."""


def head_graph(features: FeatureMap, neighbours: NeighbourScores | None = None) -> bytes:
    """Serialised ONNX: (embedding [n, d], weights [m, C], bias [C], temperature []) → probabilities [n, C].

    With ``neighbours``, their scores [n, K] come before the features of φ, and are an output as well.
    """
    nodes, constants = _feature_nodes(features)
    outputs, width, told = [_float("probabilities", ["n", "C"])], features.width, {}
    if neighbours is not None:
        more, theirs = _neighbour_nodes(neighbours)
        nodes += [*more, helper.make_node("Concat", ["neighbours", "features"], ["all_features"], axis=1)]
        constants += theirs
        outputs.append(_float("neighbours", ["n", neighbours.classes]))
        width, told = width + neighbours.classes, {NEIGHBOURS_KEY: str(neighbours.classes)}
    nodes += [
        helper.make_node("MatMul", ["all_features" if told else "features", "weights"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["scores"]),
        helper.make_node("Div", ["scores", "temperature"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    inputs = [
        _float("embedding", ["n", features.dimension]),
        _float("weights", [width, "C"]),
        _float("bias", ["C"]),
        _float("temperature", []),
    ]
    graph = helper.make_graph(nodes, "head", inputs, outputs, constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="enso"
    )
    helper.set_model_props(model, {FEATURES_KEY: str(width), **told})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def check_parity(head: OnnxHead, expected: npt.ArrayLike, x: npt.ArrayLike, *, tolerance: float = TOLERANCE) -> float:
    """max |Δp| between ``head`` on embeddings ``x`` [n, d] and the trained probabilities ``expected`` [n, C].

    Raises ParityError when a probability differs by more than ``tolerance``, or a row's category does. A row whose two
    best trained probabilities lie within ``tolerance`` of each other has no category to lose.
    """
    trained = np.asarray(expected, dtype=np.float64)
    served = head.predict(x).astype(np.float64)
    if served.shape != trained.shape:
        raise ParityError(
            f"The served head gives {list(served.shape)} probabilities, the trained {list(trained.shape)}."
        )
    if not len(trained):
        return 0.0
    gaps = np.abs(served - trained).max(axis=1)
    worst = int(np.where(np.isnan(gaps), np.inf, gaps).argmax())
    if not gaps[worst] <= tolerance:
        raise ParityError(f"Row {worst} differs by {gaps[worst]:.2e}, more than {tolerance:.0e}, after export.")
    flips = _flips(served, trained, tolerance)
    if len(flips):
        raise ParityError(f"Row {flips[0]} (of {len(flips)}) gets another category after export.")
    return float(gaps[worst])


def export_head(
    features: FeatureMap,
    *,
    weights: npt.ArrayLike,
    bias: npt.ArrayLike,
    temperature: float,
    categories: Sequence[str],
    check_on: npt.ArrayLike,
) -> tuple[bytes, float]:
    """The graph and its measured parity (max |Δp| on ``check_on`` [n, d]). Raises ParityError."""
    graph = head_graph(features)
    head = OnnxHead.from_graph(graph, weights=weights, bias=bias, temperature=temperature, categories=categories)
    scores = features(check_on) @ np.asarray(weights, dtype=np.float64) + np.asarray(bias, dtype=np.float64)
    return graph, check_parity(head, softmax(scores / temperature), check_on)


def _flips(served: npt.NDArray[np.float64], trained: npt.NDArray[np.float64], tolerance: float) -> npt.NDArray[np.intp]:
    chosen, best = served.argmax(axis=1), trained.argmax(axis=1)
    rows = np.arange(len(trained))
    decided = trained[rows, best] - trained[rows, chosen] > tolerance
    return np.flatnonzero((chosen != best) & decided)


def _feature_nodes(features: FeatureMap) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    if features.count == 0:
        return [helper.make_node("Identity", ["embedding"], ["features"])], []
    nodes, constants = _projection_nodes(features)
    nodes += [
        helper.make_node("Relu", ["projected"], ["random"]),
        helper.make_node("Mul", ["embedding", "beta"], ["direct"]),
        helper.make_node("Concat", ["random", "direct"], ["features"], axis=1),
    ]
    constants.append(numpy_helper.from_array(np.array(features.direct, dtype=np.float32), "beta"))
    return nodes, constants


def _neighbour_nodes(found: NeighbourScores) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The formula of learning/core/heads/neighbours.py. Rows stay float16 on disk; a session unfolds them once, when it opens."""
    constants = [
        numpy_helper.from_array(found.rows, "rows_half"),
        numpy_helper.from_array(found.views, "views_half"),
        numpy_helper.from_array(found.whitened, "whitened_half"),
        numpy_helper.from_array(found.votes, "votes_half"),
        numpy_helper.from_array(found.whitening.centre, "centre"),
        numpy_helper.from_array(found.whitening.matrix, "evening"),
        _ints("k", [found.k]),
        _ints("axis_one", [1]),
        _ints("axis_two", [2]),
        _singles("smallest", SMALLEST),
        _singles("sharpening", SHARPENING),
        _singles("kept", 1.0 - REST),
        _singles("floor", REST / found.classes),
        _singles("share", found.share),
    ]
    make = helper.make_node
    nodes = [
        *(
            make("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT)
            for name in ("rows", "views", "whitened", "votes")
        ),
        make("Transpose", ["rows"], ["pool"], perm=[1, 0]),
        make("MatMul", ["embedding", "pool"], ["cosines"]),
        make("TopK", ["cosines", "k"], ["nearest", "places"], axis=1),
        make("Gather", ["rows", "places"], ["near_rows"], axis=0),
        make("ReduceSum", ["near_rows", "axis_one"], ["sum_rows"], keepdims=0),
        make("ReduceL2", ["sum_rows"], ["length"], axes=[1], keepdims=1),
        make("Max", ["length", "smallest"], ["safe_length"]),
        make("Gather", ["views", "places"], ["near_views"], axis=0),
        make("ReduceSum", ["near_views", "axis_one"], ["sum_views"], keepdims=0),
        make("Div", ["sum_views", "safe_length"], ["view_scores"]),
        make("Sub", ["embedding", "centre"], ["centred"]),
        make("MatMul", ["centred", "evening"], ["evened"]),
        make("ReduceL2", ["evened"], ["evened_length"], axes=[1], keepdims=1),
        make("Max", ["evened_length", "smallest"], ["safe_evened_length"]),
        make("Div", ["evened", "safe_evened_length"], ["z"]),
        make("Transpose", ["whitened"], ["whitened_pool"], perm=[1, 0]),
        make("MatMul", ["z", "whitened_pool"], ["whitened_cosines"]),
        make("TopK", ["whitened_cosines", "k"], ["joined", "joined_places"], axis=1),
        make("Relu", ["joined"], ["positive"]),
        make("Pow", ["positive", "sharpening"], ["edges"]),
        make("Unsqueeze", ["edges", "axis_two"], ["edge_columns"]),
        make("Gather", ["votes", "joined_places"], ["near_votes"], axis=0),
        make("Mul", ["near_votes", "edge_columns"], ["weighed"]),
        make("ReduceSum", ["weighed", "axis_one"], ["sum_votes"], keepdims=0),
        make("ReduceSum", ["sum_votes", "axis_one"], ["total"], keepdims=1),
        make("Max", ["total", "smallest"], ["safe_total"]),
        make("Div", ["sum_votes", "safe_total"], ["shares"]),
        make("Mul", ["shares", "kept"], ["kept_shares"]),
        make("Add", ["kept_shares", "floor"], ["smoothed"]),
        make("Log", ["smoothed"], ["logs"]),
        make("Mul", ["logs", "share"], ["vote_scores"]),
        make("Add", ["view_scores", "vote_scores"], ["neighbours"]),
    ]
    return nodes, constants


def _projection_nodes(features: FeatureMap) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Three rounds of signs and a two-sided Hadamard product on a grid: far fewer bytes than a dense matrix."""
    height, width = features.block
    left, right = features.hadamard
    constants = [
        _ints("padding", [0, 0, 0, height * width - features.dimension]),
        _ints("grid", [-1, 1, height, width]),
        _ints("flat", [0, -1]),
        numpy_helper.from_array(left.astype(np.float32), "left"),
        numpy_helper.from_array((left * features.gain).astype(np.float32), "left_last"),
        numpy_helper.from_array(right.astype(np.float32), "right"),
    ]
    nodes = [
        helper.make_node("Pad", ["embedding", "padding"], ["padded"]),
        helper.make_node("Reshape", ["padded", "grid"], ["z0"]),
    ]
    for i, signs in enumerate(features.signs):
        constants.append(numpy_helper.from_array(signs.astype(np.float32), f"signs{i}"))
        last = i == len(features.signs) - 1
        nodes += [
            helper.make_node("Mul", [f"z{i}", f"signs{i}"], [f"signed{i}"]),
            helper.make_node("MatMul", [f"signed{i}", "right"], [f"half{i}"]),
            helper.make_node("MatMul", ["left_last" if last else "left", f"half{i}"], [f"z{i + 1}"]),
        ]
    nodes.append(helper.make_node("Reshape", [f"z{len(features.signs)}", "flat"], ["all"]))
    constants += [_ints("from", [0]), _ints("to", [features.count]), _ints("columns", [1])]
    nodes.append(helper.make_node("Slice", ["all", "from", "to", "columns"], ["projected"]))
    return nodes, constants


def _float(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _singles(name: str, value: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, dtype=np.float32), name)


def _ints(name: str, values: list[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)
