"""The neighbour graph and what spreads along it, against brute force."""

from __future__ import annotations

import numpy as np

from learning.core.heads.graph import Pool, nearest_rows, propagate
from learning.core.heads.whitening import Whitening


def points(n=60, d=8, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_neighbours_are_the_nearest_and_not_the_text_itself():
    x = points()
    at, cosines = nearest_rows(x, x, 5, itself=False)
    s = x @ x.T - 3 * np.eye(60)
    assert np.array_equal(at, np.argsort(-s, axis=1)[:, :5])
    assert np.allclose(cosines, -np.sort(-s, axis=1)[:, :5], atol=1e-6)


def test_propagation_solves_its_linear_system():
    pool = Pool.of(points())
    seeds = np.zeros((60, 3), dtype=np.float32)
    seeds[[0, 20, 40], [0, 1, 2]] = 1.0
    s = pool.affinity().matrix.toarray().astype(np.float64)
    exact = 0.3 * np.linalg.solve(np.eye(60) - 0.7 * s, seeds.astype(np.float64))
    assert np.allclose(propagate(pool.affinity().matrix, seeds, 0.7), exact, atol=1e-4)


def test_the_affinity_is_symmetric_and_normalised():
    s = Pool.of(points()).affinity().matrix.toarray()
    assert np.allclose(s, s.T, atol=1e-6)
    assert abs(np.linalg.eigvalsh(s.astype(np.float64)).max() - 1.0) < 1e-5
    assert (np.diag(s) == 0).all()


def test_texts_are_joined_to_their_nearest_by_the_whitened_cosine():
    x = points()
    pool = Pool.of(x, k=5)
    z = Whitening.of(x)(x)
    nearest = np.argsort(-(z @ z.T - 3 * np.eye(60)), axis=1)[:, :5]
    assert np.array_equal(pool.joined, nearest)
    assert not np.array_equal(nearest, np.argsort(-(x @ x.T - 3 * np.eye(60)), axis=1)[:, :5])


def test_names_become_nodes_beside_the_texts():
    pool, names = Pool.of(points()), points(4, seed=9)
    s = pool.affinity(names).matrix.toarray()
    assert s.shape == (64, 64)
    assert (s[60:, :60] > 0).sum() > 0
    assert (s[60:, 60:] == 0).all()


def test_a_view_is_the_text_beside_the_mean_of_its_neighbours():
    x = points()
    pool = Pool.of(x, k=10)
    nearest = np.argsort(-(x @ x[7]))[1:11]
    mean = x[nearest].mean(axis=0)
    assert np.allclose(pool.views[7], np.concatenate([x[7], mean / np.linalg.norm(mean)]), atol=1e-5)


def test_a_pool_of_two_texts_has_a_graph():
    pool = Pool.of(points(2))
    assert pool.joined.shape == (2, 1)
    assert np.isfinite(pool.affinity().matrix.toarray()).all()
