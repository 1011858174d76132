"""Random features: regenerable to the bit, and the kernel that they stand for."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.heads.features import FeatureMap
from tests.learning.core.heads.synthetic import unit


def arc_cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Order 1, scaled to k(x, x) = 1 (Cho & Saul 2009, equation 6)."""
    cosine = np.clip(a @ b.T, -1, 1)
    angle = np.arccos(cosine)
    return (np.sin(angle) + (np.pi - angle) * cosine) / np.pi


def test_the_random_part_has_the_arc_cosine_kernel() -> None:
    x = unit(np.random.default_rng(0).standard_normal((30, 48)))
    features = FeatureMap(48, 8192)
    random = features(x)[:, :8192]
    assert np.abs(random @ random.T - arc_cosine(x, x)).max() < 0.06


def test_the_embedding_itself_follows_the_random_part() -> None:
    x = unit(np.random.default_rng(0).standard_normal((3, 10)))
    features = FeatureMap(10, 32, direct=0.25)
    assert features(x)[:, 32:] == pytest.approx(0.25 * x)
    assert features.width == 42


def test_no_random_features_are_the_identity() -> None:
    x = np.random.default_rng(0).standard_normal((3, 10))
    assert np.array_equal(FeatureMap(10)(x), x)


def test_a_dense_matrix_gives_the_same() -> None:
    features = FeatureMap(20, 50, seed=2)
    dense = features._project(np.eye(20))
    x = np.random.default_rng(1).standard_normal((4, 20))
    assert features(x)[:, :50] == pytest.approx(np.maximum(x @ dense, 0), abs=1e-13)


def test_rows_of_the_dense_matrix_have_one_length() -> None:
    dense = FeatureMap(16, 64)._project(np.eye(16))  # 16 fills its block, so nothing is cut off
    assert np.linalg.norm(dense, axis=0) == pytest.approx(np.full(64, np.sqrt(2 / 64 * 16)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 90), st.integers(0, 9), st.integers(1, 6))
def test_a_row_alone_has_the_features_that_it_has_in_a_batch(d: int, count: int, seed: int, n: int) -> None:
    features, x = FeatureMap(d, count, seed), np.random.default_rng(seed).standard_normal((n, d))
    assert np.abs(np.concatenate([features(row) for row in x]) - features(x)).max() < 1e-14 * 40


def test_the_signs_are_those_that_the_seed_always_gave() -> None:
    digest = hashlib.sha256(FeatureMap(384, 2048, 7).signs.astype(np.int8).tobytes()).hexdigest()
    assert digest[:16] == "f60c8aa0bef65e7b"


def test_another_seed_is_another_map() -> None:
    x = np.ones((1, 8))
    assert not np.allclose(FeatureMap(8, 64, 0)(x), FeatureMap(8, 64, 1)(x))


def test_no_texts_have_no_features() -> None:
    assert FeatureMap(8, 64)(np.zeros((0, 8))).shape == (0, 72)


@pytest.mark.parametrize("given", [(0, 4, 0, 0.3), (4, -1, 0, 0.3), (4, 4, -1, 0.3), (4, 4, 0, 0.0)])
def test_it_refuses_sizes_that_make_no_sense(given: tuple[int, int, int, float]) -> None:
    with pytest.raises(ValueError, match="no such feature map"):
        FeatureMap(*given)


def test_it_refuses_embeddings_of_another_width() -> None:
    with pytest.raises(ValueError, match=r"must be \[n, 8\]"):
        FeatureMap(8, 64)(np.zeros((2, 7)))
