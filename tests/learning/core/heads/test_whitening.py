"""Whitening: what it evens out, how much of it, and what it does with pools that are too small or all alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import oas

from learning.core.heads.whitening import Whitening, shrinkage


def points(n: int, d: int, seed: int = 0, spread: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = 1.0 + rng.standard_normal((n, d)) * np.geomspace(spread, 1.0, d)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_directions_of_many_texts_count_alike_afterwards() -> None:
    x = points(20_000, 6, spread=8.0)
    w = Whitening.of(x)
    z = (x - w.centre) @ w.matrix
    before, after = np.linalg.eigvalsh(np.cov(x.T)), np.linalg.eigvalsh(np.cov(z.T))
    assert before[-1] / before[0] > 20
    assert after[-1] / after[0] < 1.5


def test_a_small_pool_is_hardly_evened_out() -> None:
    x = points(20, 60, spread=3.0)
    gains = np.linalg.norm(Whitening.of(x).matrix, axis=0)
    assert gains.max() / gains.min() < 3


def test_the_shrinkage_is_that_of_an_independent_implementation() -> None:
    """scikit-learn leaves out terms of 2/d, which are small here."""
    x = points(400, 300, spread=10.0).astype(np.float64)
    assert shrinkage(np.cov(x.T, bias=True), 400) == pytest.approx(oas(x)[1], rel=0.01)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 60), d=st.integers(1, 30), seed=st.integers(0, 99))
def test_any_pool_gives_finite_unit_rows(n: int, d: int, seed: int) -> None:
    x = points(n, d, seed)
    z = Whitening.of(x)(x)
    length = np.linalg.norm(z, axis=1)
    assert np.isfinite(z).all()
    assert all(np.isclose(length, 1.0, atol=1e-4) | np.isclose(length, 0.0))


def test_texts_that_are_all_alike_lie_at_the_centre() -> None:
    x = np.tile(np.float32([0.6, 0.8]), (5, 1))
    assert np.isfinite(Whitening.of(x)(x)).all()
    assert shrinkage(np.zeros((2, 2)), 5) == 1.0


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="no whitening"):
        Whitening(np.zeros(3, np.float32), np.zeros((3, 2), np.float32))
