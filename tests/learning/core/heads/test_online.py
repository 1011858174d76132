"""The online solution equals a refit, whatever happened before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.heads.online import OnlineRidge
from learning.core.heads.ridge import RidgeStatistics

KEYS = ["a", "b", "c"]
M = 16


def fresh(lam: float = 0.05, **options: float) -> OnlineRidge:
    return OnlineRidge(RidgeStatistics(M, KEYS), lam, **options)


def gap(online: OnlineRidge) -> float:
    return float(np.abs(online.weights - online.statistics.solve(online.lam)).max())


def run(online: OnlineRidge, steps: int, seed: int) -> list[tuple[np.ndarray, int, float]]:
    """Random additions, changes and withdrawals; returns the labels that are left."""
    rng = np.random.default_rng(seed)
    held: list[tuple[np.ndarray, int, float]] = []
    for _ in range(steps):
        kind = rng.choice(["add", "change", "withdraw"], p=[0.5, 0.25, 0.25]) if held else "add"
        if kind == "add":
            row, y, w = rng.standard_normal(M) / np.sqrt(M), int(rng.integers(3)), float(rng.uniform(0.05, 1))
            online.add(row, y, w)
            held.append((row, y, w))
            continue
        at = int(rng.integers(len(held)))
        row, y, w = held[at]
        if kind == "withdraw":
            online.withdraw(row, y, w)
            del held[at]
        else:
            new = int(rng.integers(3))
            online.change(row, y, new, w)
            held[at] = (row, new, w)
    return held


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 120))
def test_it_equals_a_refit_on_the_labels_that_are_left(seed: int, steps: int) -> None:
    online = fresh()
    left = run(online, steps, seed)
    oracle = RidgeStatistics(M, KEYS)
    if left:
        oracle.add(
            np.array([r for r, _, _ in left]), np.array([y for _, y, _ in left]), np.array([w for _, _, w in left])
        )
    assert np.abs(online.weights - oracle.solve(online.lam)).max() < 1e-9


def test_it_equals_a_refit_after_ten_thousand_updates() -> None:
    online = fresh(lam=1e-3)
    left = run(online, 10_000, seed=1)
    oracle = RidgeStatistics(M, KEYS)
    oracle.add(np.array([r for r, _, _ in left]), np.array([y for _, y, _ in left]), np.array([w for _, _, w in left]))
    assert np.abs(online.weights - oracle.solve(1e-3)).max() < 1e-9
    assert online.updates == 10_000


def test_withdrawing_everything_leaves_nothing() -> None:
    online = fresh()
    rng = np.random.default_rng(0)
    rows, y = rng.standard_normal((50, M)), rng.integers(0, 3, 50)
    for row, label in zip(rows, y, strict=True):
        online.add(row, int(label))
    for row, label in zip(rows, y, strict=True):
        online.withdraw(row, int(label))
    assert np.abs(online.weights).max() < 1e-9


def test_many_at_once_are_refitted() -> None:
    online = fresh()
    rng = np.random.default_rng(0)
    rows, y = rng.standard_normal((50, M)), rng.integers(0, 3, 50)
    online.add(rows, y)
    assert online.refits == 2
    assert gap(online) == 0.0


def test_a_few_at_once_are_followed_one_by_one() -> None:
    online = OnlineRidge(RidgeStatistics(40, KEYS), 0.1)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((4, 40))
    online.add(rows, np.array([0, 1, 2, 0]), np.array([1, 0.5, 0.25, 0]))
    online.change(rows[:2], np.array([0, 1]), np.array([2, 2]), np.array([1, 0.5]))
    online.withdraw(rows[1], 2, 0.5)
    assert (online.refits, online.updates) == (1, 7)
    assert gap(online) < 1e-11


def test_categories_come_and_go_without_a_refit() -> None:
    online = fresh()
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((20, M))
    for i, row in enumerate(rows):
        online.add(row, i % 3)
    online.add_category("d")
    online.change(rows[0], 0, 3)
    online.rename_category("c", "z")
    online.merge_categories(["a", "d"], "b")
    online.add_category("e")
    online.delete_category("e")
    assert online.statistics.categories == ["b", "z"]
    assert online.refits == 1
    assert gap(online) < 1e-11


def test_deleting_a_category_with_labels_changes_nothing() -> None:
    online = fresh()
    online.add(np.ones(M), 1)
    before = online.weights.copy()
    with pytest.raises(ValueError, match="still has labels"):
        online.delete_category("b")
    assert np.array_equal(online.weights, before)


def test_a_refused_label_changes_nothing() -> None:
    online = fresh()
    online.add(np.ones(M), 1)
    before = online.weights.copy()
    with pytest.raises(ValueError, match="outside"):
        online.add(np.ones(M), 3)
    assert np.array_equal(online.weights, before)
    assert gap(online) < 1e-12


def test_drift_is_measured_and_repaired() -> None:
    online = fresh(check_every=8)
    run(online, 7, seed=0)
    online.weights += 1e-6  # as rounding would, only faster
    assert online.drift() > 1e-8
    run(online, 1, seed=1)
    assert online.largest_drift > 1e-8
    assert gap(online) < 1e-11


def test_an_inverse_gone_wrong_is_computed_anew() -> None:
    online = fresh(check_every=4)
    run(online, 3, seed=0)
    online._inverse *= 1.5
    run(online, 5, seed=1)
    assert online.refits > 1
    assert gap(online) < 1e-11


def test_a_withdrawal_that_would_divide_by_nothing_refits() -> None:
    online = fresh(lam=1e-8)
    online.add(np.full(M, 10.0), 0)
    online.withdraw(np.full(M, 10.0), 0)
    assert online.refits == 2
    assert np.abs(online.weights).max() < 1e-6


@pytest.mark.parametrize("lam", [0.0, -1.0, float("nan")])
def test_a_head_needs_regularisation(lam: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        fresh(lam=lam)


def test_watched_texts_are_scored_with_the_weights_of_the_moment() -> None:
    online, texts = fresh(check_every=16), np.random.default_rng(2).standard_normal((5, M))
    online.watch(texts)
    run(online, 60, seed=3)
    online.add_category("d")
    online.merge_categories(["a"], "b")
    run_after = np.random.default_rng(4).standard_normal(M)
    online.add(run_after, 1)
    assert online.watched_scores == pytest.approx(texts @ online.weights, abs=1e-4)
