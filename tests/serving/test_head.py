"""The served head: the arithmetic of its graph, its refusals, and siblings for live weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from learning.core.export import head_graph
from learning.core.heads.features import FeatureMap
from serving.artifacts import CorruptBundle, write_bundle
from serving.head import BIAS, GRAPH, WEIGHTS, HeadDelta, OnnxHead, npy_bytes

CATEGORIES = ("refund", "card_lost", "hours")


def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def parts(features: FeatureMap, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((features.width, 3)), rng.standard_normal(3)


def head_of(features: FeatureMap, temperature: float = 0.5) -> OnnxHead:
    weights, bias = parts(features)
    return OnnxHead.from_graph(
        head_graph(features), weights=weights, bias=bias, temperature=temperature, categories=CATEGORIES
    )


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("count", [0, 5, 64, 100])
def test_it_gives_the_softmax_of_the_linear_scores(count: int) -> None:
    features = FeatureMap(24, count, seed=3)
    weights, bias = parts(features)
    x = rows(7, 24)
    expected = softmax((features(x) @ weights + bias) / 0.5)
    assert np.abs(head_of(features).predict(x) - expected).max() < 1e-6


def test_one_row_gives_the_same_as_in_a_batch() -> None:
    head, x = head_of(FeatureMap(24, 64)), rows(5, 24)
    assert np.abs(np.concatenate([head.predict(x[i : i + 1]) for i in range(5)]) - head.predict(x)).max() < 1e-6


def test_no_rows_give_no_probabilities() -> None:
    assert head_of(FeatureMap(24, 64)).predict(np.zeros((0, 24))).shape == (0, 3)


def test_a_sibling_with_other_weights_leaves_the_first_as_it_was() -> None:
    features, x = FeatureMap(24, 64), rows(4, 24)
    head = head_of(features)
    before = head.predict(x)
    other = head.with_weights(np.zeros((features.width, 3)), [0.0, 0.0, 1.0])
    assert other.predict(x)[0] == pytest.approx(softmax(np.array([[0, 0, 2.0]]))[0], abs=1e-6)
    assert np.array_equal(head.predict(x), before)


def test_a_sibling_may_have_other_categories_and_another_temperature() -> None:
    features = FeatureMap(24, 0)
    other = head_of(features).with_weights(np.ones((24, 2)), [0.0, 1.0], temperature=2.0, categories=["a", "b"])
    assert (other.categories, other.temperature) == (("a", "b"), 2.0)
    assert other.predict(rows(1, 24)).shape == (1, 2)


def test_the_weights_in_service_cannot_be_written_to() -> None:
    features = FeatureMap(24, 0)
    weights = np.ones((24, 3))
    head = head_of(features).with_weights(weights, np.zeros(3))
    weights[:] = 7.0
    assert float(head.weights.max()) == 1.0
    with pytest.raises(ValueError, match="read-only"):
        head.weights[0, 0] = 2.0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"weights": np.ones((23, 3))}, "do not fit 24 features"),
        ({"weights": np.ones((24, 2))}, "do not fit"),
        ({"bias": np.ones(2)}, "do not fit"),
        ({"weights": np.full((24, 3), np.nan)}, "not finite"),
        ({"bias": np.full(3, np.inf)}, "not finite"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": 1e-60}, "temperature"),
        ({"categories": []}, "at least one category"),
    ],
)
def test_it_refuses_parts_that_do_not_fit(change: dict[str, object], sentence: str) -> None:
    given = {"weights": np.ones((24, 3)), "bias": np.zeros(3), "temperature": 1.0, "categories": CATEGORIES, **change}
    with pytest.raises(ValueError, match=sentence):
        OnnxHead.from_graph(head_graph(FeatureMap(24)), **given)


@pytest.mark.parametrize("x", [np.zeros((2, 23)), np.zeros(24)])
def test_it_refuses_embeddings_of_another_width(x: np.ndarray) -> None:
    with pytest.raises(ValueError, match="embeddings must be"):
        head_of(FeatureMap(24)).predict(x)


@pytest.fixture
def files() -> dict[str, bytes]:
    features = FeatureMap(24, 64)
    weights, bias = parts(features)
    return {GRAPH: head_graph(features), WEIGHTS: npy_bytes(weights), BIAS: npy_bytes(bias)}


META = {"kind": "blend", "categories": list(CATEGORIES), "temperature": 0.5}


def test_a_bundle_serves_what_was_put_into_it(tmp_path: Path, files: dict[str, bytes]) -> None:
    head, x = OnnxHead.load(write_bundle(tmp_path, files, META)), rows(3, 24)
    assert head.categories == CATEGORIES
    assert np.array_equal(head.predict(x), head_of(FeatureMap(24, 64)).predict(x))


def test_the_same_array_gives_the_same_bytes() -> None:
    a = np.arange(6.0).reshape(2, 3)
    assert npy_bytes(a) == npy_bytes(np.asfortranarray(a)) == npy_bytes(a.astype(np.float32))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (GRAPH, b"not a graph", "refuses the graph"),
        (GRAPH, b"", "refuses the graph"),
        (WEIGHTS, b"\x93NUMPY", "cannot be served"),
        (WEIGHTS, npy_bytes(np.ones((3, 3))), "do not fit"),
        (BIAS, npy_bytes([np.nan] * 3), "not finite"),
    ],
)
def test_it_refuses_a_bundle_whose_parts_cannot_be_served(
    tmp_path: Path, files: dict[str, bytes], name: str, content: bytes, sentence: str
) -> None:
    bundle = write_bundle(tmp_path, {**files, name: content}, META)
    with pytest.raises(CorruptBundle, match=sentence):
        OnnxHead.load(bundle)


def test_it_refuses_a_bundle_without_weights(tmp_path: Path, files: dict[str, bytes]) -> None:
    del files[WEIGHTS]
    with pytest.raises(CorruptBundle, match="lacks"):
        OnnxHead.load(write_bundle(tmp_path, files, META))


def test_it_never_unpickles(tmp_path: Path, files: dict[str, bytes]) -> None:
    import io

    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    bundle = write_bundle(tmp_path, {**files, WEIGHTS: buffer.getvalue()}, META)
    with pytest.raises(CorruptBundle, match="cannot be served"):
        OnnxHead.load(bundle)


def test_it_refuses_a_graph_that_is_no_head(tmp_path: Path, files: dict[str, bytes]) -> None:
    import onnx
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    with pytest.raises(CorruptBundle, match="no head graph"):
        OnnxHead.load(write_bundle(tmp_path, {**files, GRAPH: model.SerializeToString()}, META))


def delta(features: int = 24, count: int = 2) -> HeadDelta:
    rng = np.random.default_rng(0)
    weights, bias = rng.standard_normal((features, count)).astype("f4"), rng.standard_normal(count).astype("f4")
    return HeadDelta("b" * 64, 7, tuple(f"返金{i}" for i in range(count)), weights, bias, 0.25)


def test_a_delta_comes_back_as_it_was() -> None:
    first = delta()
    again = HeadDelta.from_bytes(first.to_bytes())
    assert (again.base, again.number, again.categories, again.temperature) == ("b" * 64, 7, ("返金0", "返金1"), 0.25)
    assert np.array_equal(again.weights, first.weights)
    assert np.array_equal(again.bias, first.bias)
    assert again.to_bytes() == first.to_bytes()


def test_a_delta_replaces_weights_temperature_and_categories() -> None:
    head, change, x = head_of(FeatureMap(24)), delta(), rows(3, 24)
    served = head.with_delta(change)
    assert served.categories == change.categories
    assert np.abs(served.predict(x) - softmax((x @ change.weights + change.bias) / 0.25)).max() < 1e-6


@pytest.mark.parametrize("damage", [
    lambda d: d[:-1], lambda d: d[:-1] + bytes([d[-1] ^ 1]), lambda d: d + b"x", lambda d: b"", lambda d: b"[]\n",
    lambda d: d.split(b"\n")[0], lambda d: d.replace(b'"features": 24', b'"features": 23'), lambda d: b"\xff" + d,
])  # fmt: skip
def test_a_damaged_delta_is_refused(damage) -> None:
    with pytest.raises(CorruptBundle):
        HeadDelta.from_bytes(damage(delta().to_bytes()))


def test_a_delta_of_another_feature_map_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        head_of(FeatureMap(24)).with_delta(delta(features=23))
