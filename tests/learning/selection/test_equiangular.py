"""Prototypes as far apart as points on a sphere can be, and the map that leads there."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from learning.selection.equiangular import GRID, Repulsion, between, ridge_map, separated_prototypes
from learning.selection.greedy import lazy_greedy, plain_greedy
from tests.learning.selection.worlds import clustered


@pytest.mark.parametrize(("classes", "dimension"), [(2, 1), (3, 2), (6, 5), (77, 384)])
def test_up_to_one_more_than_dimensions_they_are_equiangular(classes, dimension):
    p = separated_prototypes(classes, dimension)
    cosine = p @ p.T
    assert np.allclose(np.diag(cosine), 1.0, atol=1e-5)
    assert np.allclose(cosine[~np.eye(classes, dtype=bool)], -1.0 / (classes - 1), atol=1e-5)


def test_beyond_that_they_are_further_apart_than_chance():
    p = separated_prototypes(30, 8)
    r = np.random.default_rng(1).standard_normal((30, 8))
    r /= np.linalg.norm(r, axis=1, keepdims=True)
    largest = [(m @ m.T - 2 * np.eye(30)).max() for m in (p, r)]
    assert largest[0] < 0.6 < largest[1]


def test_the_map_is_the_ridge_of_least_leave_one_out_error():
    rng = np.random.default_rng(0)
    x, y = clustered(rng, 40, d=12, k=4)
    targets = separated_prototypes(4, 3)[y].astype(np.float64)
    x = x.astype(np.float64)
    errors = [
        np.square(cross_val_predict(Ridge(alpha=a, fit_intercept=False), x, targets, cv=LeaveOneOut()) - targets).sum()
        for a in GRID
    ]
    best = Ridge(alpha=GRID[int(np.argmin(errors))], fit_intercept=False).fit(x, targets).coef_.T
    assert np.allclose(ridge_map(x, targets), best, atol=1e-4)


def test_between_two_prototypes_is_unsure_and_at_one_is_sure():
    p = separated_prototypes(4, 3)
    middle = (p[0] + p[1]) / np.linalg.norm(p[0] + p[1])
    assert between(np.stack([middle, p[2]]), p) == pytest.approx([1.0, 0.0], abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_repulsion_is_picked_exactly_by_lazy_greedy(seed):
    rng = np.random.default_rng(seed)
    z, _ = clustered(rng, 200, d=8)
    base = rng.random(200).astype(np.float32)
    lazy, plain = (
        pick(Repulsion(z, np.arange(200), base, 0.02, z[:10]), 30)[0] for pick in (lazy_greedy, plain_greedy)
    )
    assert np.array_equal(lazy, plain)
