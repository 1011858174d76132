"""Distances, close pairs and k-means against scikit-learn and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from learning.core.drift import geometry
from tests.learning.core.drift.worlds import World


@pytest.fixture
def x():
    rng, world = np.random.default_rng(0), World()
    return world.texts(world.topics(300, rng), rng)


def test_the_nearest_others_are_those_of_an_independent_implementation(x, monkeypatch):
    monkeypatch.setattr(geometry, "BLOCK", 64)
    _, distance = geometry.nearest_others(x, 5)
    oracle = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(x).kneighbors(x)[0][:, 1:]
    assert distance == pytest.approx(oracle, abs=1e-5)


def test_the_close_pairs_are_all_of_them_once(x, monkeypatch):
    monkeypatch.setattr(geometry, "BLOCK", 64)
    i, j, k = geometry.close_pairs(x, 0.2)
    distance = 1 - x.astype(float) @ x.T
    close = np.triu(distance < 0.2, 1)
    found = np.zeros_like(close)
    found[i, j] = True
    assert len(i) == found.sum()
    assert (found == close).mean() > 0.9999
    assert k == pytest.approx((1 - distance[i, j] / 0.2) ** 2, abs=1e-5)


def test_the_kernel_falls_from_one_to_nought_at_the_radius():
    assert geometry.kernel(np.array([0, 0.5, 1, 2], np.float32), 1.0).tolist() == [1, 0.25, 0, 0]


def test_k_means_fits_as_tightly_as_an_independent_implementation_with_one_start():
    rng, world = np.random.default_rng(3), World()
    x = world.texts(world.topics(500, rng), rng)
    ours, oracle = [], []
    for seed in range(5):
        centres = geometry.k_means(x, 12, np.random.default_rng(seed))
        assert np.linalg.norm(centres, axis=1) == pytest.approx(np.ones(12), abs=1e-5)
        ours.append(2 * (1 - (x @ centres.T).max(1)).sum())
        oracle.append(KMeans(12, n_init=1, random_state=seed).fit(x).inertia_)
    assert np.mean(ours) < 1.1 * np.mean(oracle)


def test_k_means_survives_texts_that_are_all_alike():
    x = np.tile(np.eye(1, 8, dtype=np.float32), (200, 1))
    assert geometry.k_means(x, 4, np.random.default_rng(0)).shape == (4, 8)
