"""Nearest inquiries against scikit-learn, and smoothing over them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from learning.core.preference import neighbours
from learning.core.preference.neighbours import nearest, smoothed


def unit(n: int, d: int = 6, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_neighbours_are_scikit_learns_across_block_borders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    queries, pool = unit(30, seed=1), unit(50)
    distance, index = NearestNeighbors(n_neighbors=4, metric="cosine").fit(pool).kneighbors(queries)
    found, cosine = nearest(queries, pool, 4)
    assert np.array_equal(found, index)
    assert cosine == pytest.approx(1 - distance, abs=1e-6)


def test_ties_go_to_the_lower_index() -> None:
    pool = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    assert nearest(np.array([[1.0, 0.0]]), pool, 3)[0].tolist() == [[1, 2, 0]]


def test_asking_for_more_neighbours_than_there_are_gives_all() -> None:
    assert nearest(unit(2), unit(3), 10)[0].shape == (2, 3)


def test_an_empty_pool_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to be near"):
        nearest(unit(1), np.empty((0, 6)), 1)


def test_smoothing_draws_a_cluster_together_and_keeps_lengths() -> None:
    centres = np.eye(6)[:2]
    x = np.repeat(centres, 20, axis=0) + 0.3 * np.random.default_rng(0).standard_normal((40, 6))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    smooth = smoothed(x, k=10, rounds=2)
    own = np.repeat([0, 1], 20)
    assert np.linalg.norm(smooth, axis=1) == pytest.approx(np.ones(40))
    assert (smooth @ centres.T)[np.arange(40), own].mean() > (x @ centres.T)[np.arange(40), own].mean()


def test_no_rounds_change_nothing() -> None:
    assert np.array_equal(smoothed(unit(12), rounds=0), unit(12))
