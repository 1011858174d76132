"""Folds: even, and near-duplicates on one side."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.heads.folds import stratified_folds, with_at_most


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 200), st.integers(1, 10), st.integers(1, 12), st.integers(0, 99))
def test_every_category_is_spread_evenly(n: int, k: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    folds = stratified_folds(y, k, rng)
    k = min(k, n)
    assert set(folds) == set(range(k))
    for c in range(classes):
        sizes = np.bincount(folds[y == c], minlength=k)
        assert sizes.max() - sizes.min() <= 1
    sizes = np.bincount(folds, minlength=k)
    assert sizes.max() - sizes.min() <= 1


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 100), st.integers(1, 6), st.integers(1, 30), st.integers(0, 99))
def test_a_group_is_never_divided(n: int, k: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, count, n)
    folds = stratified_folds(rng.integers(0, 4, n), k, rng, groups=groups)
    assert all(len(set(folds[groups == g])) == 1 for g in set(groups))
    assert set(folds) == set(range(min(k, len(set(groups)))))


def test_the_same_generator_gives_the_same_folds() -> None:
    y = np.arange(40) % 7
    first, second = (stratified_folds(y, 5, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)


def test_no_rows_have_no_folds() -> None:
    none = np.zeros(0, dtype=int)
    assert len(with_at_most(stratified_folds(none, 5, np.random.default_rng(0)), 10)) == 0


def test_only_as_many_folds_are_held_out_as_are_needed() -> None:
    folds = np.arange(100) % 5
    assert set(with_at_most(folds, 30)) == {-1, 0, 1}
    assert set(with_at_most(folds, 1)) == {-1, 0}
    assert np.array_equal(with_at_most(folds, 1000), folds)
