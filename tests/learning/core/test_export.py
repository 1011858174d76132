"""Export: the same head always gives the same bytes, and a served head that differs is refused."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.calibration import softmax
from learning.core.export import ParityError, check_parity, export_head, head_graph
from learning.core.heads.features import FeatureMap
from serving.head import OnnxHead


def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def identity_head(weights: np.ndarray) -> OnnxHead:
    d, count = weights.shape
    names = [f"c{i}" for i in range(count)]
    return OnnxHead.from_graph(
        head_graph(FeatureMap(d)), weights=weights, bias=np.zeros(count), temperature=1.0, categories=names
    )


@settings(max_examples=20, deadline=None)
@given(
    d=st.integers(1, 70), count=st.sampled_from([0, 1, 7, 64, 200]), classes=st.integers(1, 9), n=st.integers(0, 5),
    temperature=st.floats(0.02, 20), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_head_survives_its_export(d: int, count: int, classes: int, n: int, temperature: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = FeatureMap(d, count, seed)
    _, gap = export_head(
        features,
        weights=rng.standard_normal((features.width, classes)) * temperature,
        bias=rng.standard_normal(classes),
        temperature=temperature,
        categories=[str(i) for i in range(classes)],
        check_on=rows(n, d, seed),
    )
    assert gap <= 1e-5


def test_the_bytes_depend_on_the_feature_map_alone() -> None:
    assert head_graph(FeatureMap(24, 64, 5)) == head_graph(FeatureMap(24, 64, 5))
    assert head_graph(FeatureMap(24, 64, 5)) != head_graph(FeatureMap(24, 64, 6))


def test_the_identity_graph_has_the_bytes_that_it_always_had() -> None:
    assert hashlib.sha256(head_graph(FeatureMap(4))).hexdigest()[:16] == GOLDEN


GOLDEN = "f37529c56e9abd1b"


def test_the_graph_holds_neither_weights_nor_a_dense_projection() -> None:
    model = onnx.load_from_string(head_graph(FeatureMap(384, 2048)))
    assert [i.name for i in model.graph.input] == ["embedding", "weights", "bias", "temperature"]
    assert len(head_graph(FeatureMap(384, 2048))) < 100_000


def test_parity_names_the_worst_row() -> None:
    weights, x = np.eye(3), rows(6, 3)
    trained = softmax(x @ weights)
    trained[4, 0] += 0.01
    with pytest.raises(ParityError, match=r"Row 4 differs by 1\.0.e-02"):
        check_parity(identity_head(weights), trained, x)


def test_parity_refuses_a_flip_even_within_the_tolerance() -> None:
    x, trained = np.array([[0.5, 0.5 + 8e-6]]), [[0.5 + 7e-6, 0.5 - 7e-6]]
    with pytest.raises(ParityError, match=r"Row 0 \(of 1\) gets another category"):
        check_parity(identity_head(np.eye(2)), trained, x)


def test_a_tie_is_no_flip() -> None:
    x = np.array([[0.5, 0.5 + 1e-9]])
    assert check_parity(identity_head(np.eye(2)), softmax(x)[:, ::-1], x) < 1e-6


def test_parity_refuses_probabilities_that_are_not_numbers() -> None:
    with pytest.raises(ParityError, match="Row 1"):
        check_parity(identity_head(np.eye(2)), [[0.5, 0.5], [np.nan, 0.5]], np.zeros((2, 2)))


def test_parity_refuses_another_number_of_categories() -> None:
    with pytest.raises(ParityError, match=r"\[1, 2\] probabilities, the trained \[1, 3\]"):
        check_parity(identity_head(np.eye(2)), [[0.2, 0.3, 0.5]], np.zeros((1, 2)))
