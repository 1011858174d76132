"""The reply policy π(reply | inquiry): scores on an embedding, a masked softmax, ε-exploration, and its ONNX graph.

score = x·W + relu(x·A + a)·H + b, one column of W and H per reply (the second term only where there is a hidden layer).
The behaviour policy, whose probabilities are logged as propensities, is (1 − ε)·softmax(score / T) + ε / #eligible over
the eligible replies; ineligible ones have exactly 0. "Ask a person" is a candidate like any other that is always
eligible, so a row can lose every reply and still have an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from learning.core.preference.evidence import Flags, Floats, Ints

OPSET, IR_VERSION = 17, 8
TOLERANCE = 1e-5


class PolicyParityError(Exception):
    """The exported policy does not give the probabilities of the trained one."""


@dataclass(frozen=True)
class Hidden:
    """A hidden layer: ``inward`` [d, h], ``offset`` [h], ``outward`` [h, R]."""

    inward: Floats
    offset: Floats
    outward: Floats


@dataclass(frozen=True)
class ReplyPolicy:
    """``weights`` [d, R], ``bias`` [R], optional hidden layer, softmax ``temperature``; ``person`` is a column index."""

    weights: Floats
    bias: Floats
    hidden: Hidden | None = None
    temperature: float = 1.0
    person: int | None = None

    def __post_init__(self) -> None:
        if self.bias.shape != (self.weights.shape[1],) or not self.temperature > 0:
            raise ValueError("A policy needs one bias per reply and a temperature above 0.")

    @property
    def replies(self) -> int:
        """How many candidates there are, the person included."""
        return len(self.bias)

    def scores(self, x: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Scores [n, R] of embeddings ``x`` [n, d], before temperature and eligibility."""
        z = np.asarray(x, dtype=np.float64)
        scores = z @ self.weights.astype(np.float64) + self.bias
        if self.hidden is not None:
            scores = scores + np.maximum(z @ self.hidden.inward + self.hidden.offset, 0) @ self.hidden.outward
        return np.asarray(scores)

    def probabilities(
        self, x: npt.ArrayLike, eligible: Flags | None = None, *, exploration: float = 0.0
    ) -> npt.NDArray[np.float64]:
        """The behaviour policy [n, R]. Raises ValueError where a row has nothing eligible and no person to ask."""
        scores = self.scores(x) / self.temperature
        allowed = self.allowed(np.ones(scores.shape, dtype=bool) if eligible is None else eligible)
        masked = np.where(allowed, scores, -np.inf)
        exponents = np.exp(masked - masked.max(axis=1, keepdims=True))
        greedy = exponents / exponents.sum(axis=1, keepdims=True)
        return np.asarray((1 - exploration) * greedy + exploration * allowed / allowed.sum(axis=1, keepdims=True))

    def allowed(self, eligible: Flags) -> Flags:
        """``eligible`` [n, R] with the person always let in. Raises ValueError where a row is left empty."""
        allowed = eligible.copy()
        if self.person is not None:
            allowed[:, self.person] = True
        if not allowed.any(axis=1).all():
            raise ValueError("An inquiry has no eligible reply and no person to ask.")
        return allowed

    def folded(self) -> ReplyPolicy:
        """The same policy with its temperature divided into the scores, so that learning can start from them."""
        t = self.temperature
        hidden = None if self.hidden is None else replace(self.hidden, outward=self.hidden.outward / t)
        return replace(self, weights=self.weights / t, bias=self.bias / t, hidden=hidden, temperature=1.0)

    def with_person(self, score: float) -> ReplyPolicy:
        """The same policy with "ask a person" as one more candidate, its score the same for every inquiry."""
        return self.with_column(np.zeros(len(self.weights)), score)

    def with_column(self, weights: Floats, score: float) -> ReplyPolicy:
        """The same policy with a person whose score is x·``weights`` [d] + ``score``, as the last column."""
        columns = np.asarray(weights, dtype=self.weights.dtype)[:, None]
        hidden = self.hidden
        if hidden is not None:
            nothing = np.zeros((len(hidden.outward), 1), dtype=hidden.outward.dtype)
            hidden = replace(hidden, outward=np.hstack([hidden.outward, nothing]))
        bias = np.append(self.bias, np.asarray(score, dtype=self.bias.dtype))
        return replace(self, weights=np.hstack([self.weights, columns]), bias=bias, hidden=hidden, person=self.replies)

    def without_person(self) -> ReplyPolicy:
        """The replies alone."""
        if self.person is None:
            return self
        keep = np.arange(self.replies) != self.person
        hidden = self.hidden
        if hidden is not None:
            hidden = replace(hidden, outward=hidden.outward[:, keep])
        return replace(self, weights=self.weights[:, keep], bias=self.bias[keep], hidden=hidden, person=None)


def draw(probabilities: Floats, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """One reply per row of ``probabilities`` [n, R], and the propensity to log with it: ([n], [n])."""
    edges = probabilities.cumsum(axis=1)
    chosen = (edges <= rng.random((len(edges), 1)) * edges[:, -1:]).sum(axis=1)
    return chosen, np.take_along_axis(probabilities, chosen[:, None], axis=1)[:, 0]


def policy_graph(policy: ReplyPolicy) -> bytes:
    """Serialised ONNX: (embedding [n, d], eligible [n, R], exploration []) → probabilities [n, R], scores [n, R].

    Unlike `ReplyPolicy.probabilities`, a row without any eligible reply and without a person gives NaN: check first.
    """
    nodes, constants = _score_nodes(policy)
    behaviour, masks = _behaviour_nodes(policy)
    inputs = [
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", len(policy.weights)]),
        helper.make_tensor_value_info("eligible", TensorProto.BOOL, ["n", policy.replies]),
        helper.make_tensor_value_info("exploration", TensorProto.FLOAT, []),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", policy.replies])
        for name in ("probabilities", "scores")
    ]
    graph = helper.make_graph(nodes + behaviour, "reply_policy", inputs, outputs, constants + masks)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="enso"
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def export_policy(policy: ReplyPolicy, *, check_on: Floats, eligible: Flags | None = None) -> tuple[bytes, float]:
    """The graph and its measured parity, max |Δp| on embeddings ``check_on`` [n, d]. Raises PolicyParityError."""
    graph = policy_graph(policy)
    eligible = np.ones((len(check_on), policy.replies), dtype=bool) if eligible is None else eligible
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    feed = {
        "embedding": check_on.astype(np.float32),
        "eligible": eligible,
        "exploration": np.zeros((), dtype=np.float32),
    }
    served = session.run(["probabilities"], feed)[0]
    gap = float(np.abs(served - policy.probabilities(check_on, eligible)).max(initial=0.0))
    if not gap <= TOLERANCE:
        raise PolicyParityError(f"The exported policy differs by {gap:.2e}, more than {TOLERANCE:.0e}.")
    return graph, gap


def _score_nodes(policy: ReplyPolicy) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    constants = [_floats("weights", policy.weights), _floats("bias", policy.bias)]
    nodes = [helper.make_node("MatMul", ["embedding", "weights"], ["linear"])]
    last = "linear"
    if policy.hidden is not None:
        hidden = policy.hidden
        constants += [_floats("inward", hidden.inward), _floats("offset", hidden.offset)]
        constants.append(_floats("outward", hidden.outward))
        nodes += [
            helper.make_node("MatMul", ["embedding", "inward"], ["projected"]),
            helper.make_node("Add", ["projected", "offset"], ["shifted"]),
            helper.make_node("Relu", ["shifted"], ["active"]),
            helper.make_node("MatMul", ["active", "outward"], ["nonlinear"]),
            helper.make_node("Add", ["linear", "nonlinear"], ["joined"]),
        ]
        last = "joined"
    nodes.append(helper.make_node("Add", [last, "bias"], ["scores"]))
    return nodes, constants


def _behaviour_nodes(policy: ReplyPolicy) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    always = np.zeros(policy.replies, dtype=bool)
    if policy.person is not None:
        always[policy.person] = True
    constants = [
        numpy_helper.from_array(always, "always"),
        _floats("temperature", np.asarray(policy.temperature)),
        _floats("nothing", np.asarray(-np.inf)),
        _floats("one", np.asarray(1.0)),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "reply_axis"),
    ]
    nodes = [
        helper.make_node("Or", ["eligible", "always"], ["allowed"]),
        helper.make_node("Div", ["scores", "temperature"], ["logits"]),
        helper.make_node("Where", ["allowed", "logits", "nothing"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["greedy"], axis=1),
        helper.make_node("Cast", ["allowed"], ["counted"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["counted", "reply_axis"], ["candidates"], keepdims=1),
        helper.make_node("Div", ["counted", "candidates"], ["uniform"]),
        helper.make_node("Mul", ["uniform", "exploration"], ["explored"]),
        helper.make_node("Sub", ["one", "exploration"], ["kept"]),
        helper.make_node("Mul", ["greedy", "kept"], ["exploited"]),
        helper.make_node("Add", ["exploited", "explored"], ["probabilities"]),
    ]
    return nodes, constants


def _floats(name: str, values: Floats) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)
