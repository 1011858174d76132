"""How much held-out labels count: by how common their situation is among the texts to be answered."""

from __future__ import annotations

import numpy as np
import pytest

from learning.core.heads.coverage import coverage_weights, density_ratio
from learning.core.heads.experts import Known
from learning.core.heads.graph import Pool


def test_the_ratio_is_that_of_the_densities() -> None:
    rng = np.random.default_rng(0)
    here, there = rng.normal(0.4, 0.1, 4000), rng.normal(0.5, 0.1, 4000)
    exact = np.exp(((here - 0.4) ** 2 - (here - 0.5) ** 2) / 0.02)
    inside = np.abs(here - 0.45) < 0.15
    assert np.corrcoef(np.log(density_ratio(here, there)[inside]), np.log(exact[inside]))[0, 1] > 0.99


def test_weights_turn_a_mean_over_labels_into_one_over_the_pool() -> None:
    rng = np.random.default_rng(1)
    here, there = rng.normal(0.4, 0.1, 4000), rng.normal(0.5, 0.1, 4000)
    w = density_ratio(here, there)
    assert (w @ here) / w.sum() == pytest.approx(there.mean(), abs=0.01)


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0)])
def test_without_anything_to_compare_all_count_alike(sizes: tuple[int, int]) -> None:
    here, there = (np.linspace(0.1, 0.9, n) for n in sizes)
    assert density_ratio(here, there).tolist() == [1.0] * sizes[0]


def test_a_label_whose_fold_leaves_a_hole_counts_less() -> None:
    """Labels in pairs: those whose partner is held out with them lie far from any label in sight, as no text of the pool does."""
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((20, 16))
    x = (np.repeat(centres, 60, axis=0) + 0.3 * rng.standard_normal((1200, 16))).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    at = np.concatenate([[60 * c, 60 * c + 1] for c in range(20)])
    folds = np.concatenate([[0, 0] if c < 10 else [0, 1] for c in range(20)])
    pool, y = Pool.of(x), np.repeat(np.arange(20), 2)
    known = Known(pool, at, y, np.ones(40, np.float32), 20, None, pool.affinity())
    w = coverage_weights(known, folds)
    assert w.mean() == pytest.approx(1.0)
    assert np.median(w[:20]) < np.median(w[20:]) / 4


def test_labels_keep_their_own_weights() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((200, 8)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    pool, at = Pool.of(x), np.arange(30)
    own = np.linspace(0.5, 2.0, 30).astype(np.float32)
    folds = np.arange(30) % 3
    plain, weighted = (
        coverage_weights(Known(pool, at, at % 2, w, 2, None, pool.affinity()), folds)
        for w in (np.ones(30, np.float32), own)
    )
    assert np.allclose(weighted / weighted.sum(), plain * own / (plain * own).sum())
