"""Ridge statistics: the order and the way in which labels came leave no trace."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from learning.core.heads.features import FeatureMap
from learning.core.heads.ridge import PENDING, RidgeStatistics, held_out_scores
from tests.learning.core.heads.synthetic import clusters

KEYS = ["a", "b", "c"]
M = 12


def labels(n: int, seed: int = 0, classes: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, M)), rng.integers(0, classes, n), rng.uniform(0.1, 2, n)


def of(phi: np.ndarray, y: np.ndarray, w: np.ndarray, keys: list[str] | None = None) -> RidgeStatistics:
    made = RidgeStatistics(M, keys or KEYS)
    made.add(phi, y, w)
    return made


def same(a: RidgeStatistics, b: RidgeStatistics) -> bool:
    tables = ("gram", "cross", "weight", "count")
    return a.categories == b.categories and all(np.allclose(getattr(a, t), getattr(b, t), atol=1e-10) for t in tables)


def test_it_solves_what_scikit_learn_solves() -> None:
    phi, y, w = labels(60)
    oracle = Ridge(alpha=0.7, fit_intercept=False, solver="cholesky").fit(phi, np.eye(3)[y], sample_weight=w)
    assert of(phi, y, w).solve(0.7) == pytest.approx(oracle.coef_.T, abs=1e-10)


@pytest.mark.parametrize("n", [1, 5, PENDING - 1, PENDING, PENDING + 1, 100])
def test_one_by_one_is_the_same_as_all_at_once(n: int) -> None:
    phi, y, w = labels(n)
    single = RidgeStatistics(M, KEYS)
    for row, label, v in zip(phi, y, w, strict=True):
        single.add(row, int(label), v)
    assert same(single, of(phi, y, w))


def test_target_probabilities_are_labels_when_they_are_certain() -> None:
    phi, y, w = labels(9)
    assert same(of(phi, np.eye(3)[y], w), of(phi, y, w))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 80), st.data())
def test_withdrawn_labels_were_never_there(seed: int, n: int, data: st.DataObject) -> None:
    phi, y, w = labels(n, seed)
    gone = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    kept = of(phi, y, w)
    kept.withdraw(phi[gone], y[gone], w[gone])
    assert same(kept, of(phi[~gone], y[~gone], w[~gone]))


def test_a_changed_label_was_always_the_new_one() -> None:
    phi, y, w = labels(40)
    new = (y + 1) % 3
    changed = of(phi, y, w)
    changed.change(phi, y, new, w)
    assert same(changed, of(phi, new, w))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 70), st.integers(0, 70))
def test_statistics_of_shards_add_up(seed: int, n: int, m: int) -> None:
    phi, y, w = labels(n + m, seed)
    whole = of(phi[:n], y[:n], w[:n])
    whole.merge(of(phi[n:], y[n:], w[n:]))
    assert same(whole, of(phi, y, w))


def test_shards_of_different_categories_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        RidgeStatistics(M, KEYS).merge(RidgeStatistics(M, KEYS[::-1]))


def test_a_renamed_category_keeps_its_labels() -> None:
    phi, y, w = labels(20)
    renamed = of(phi, y, w)
    renamed.rename_category("b", "z")
    assert same(renamed, of(phi, y, w, ["a", "z", "c"]))


@pytest.mark.parametrize(("sources", "into", "keys", "map_to"), [
    (["b"], "a", ["a", "c"], [0, 0, 1]),
    (["a"], "c", ["b", "c"], [1, 0, 1]),
    (["a", "b", "c"], "b", ["b"], [0, 0, 0]),
    (["c"], "c", ["a", "b", "c"], [0, 1, 2]),
])  # fmt: skip
def test_merged_categories_are_one_from_the_start(
    sources: list[str], into: str, keys: list[str], map_to: list[int]
) -> None:
    phi, y, w = labels(30)
    merged = of(phi, y, w)
    merged.merge_categories(sources, into)
    assert same(merged, of(phi, np.array(map_to)[y], w, keys))


def test_a_split_category_moves_the_rows_that_belong_to_the_new_one() -> None:
    phi, y, w = labels(30)
    moving = (y == 1) & (phi[:, 0] > 0)
    split = of(phi, y, w)
    split.add_category("b2")
    split.change(phi[moving], y[moving], np.full(moving.sum(), 3), w[moving])
    assert same(split, of(phi, np.where(moving, 3, y), w, [*KEYS, "b2"]))


def test_a_category_with_labels_is_not_deleted() -> None:
    phi, y, w = labels(30)
    statistics = of(phi, y, w)
    with pytest.raises(ValueError, match="still has labels"):
        statistics.delete_category("b")
    statistics.withdraw(phi[y == 1], y[y == 1], w[y == 1])
    statistics.delete_category("b")
    rest = y != 1
    assert same(statistics, of(phi[rest], np.where(y[rest] == 2, 1, 0), w[rest], ["a", "c"]))


def test_what_is_stored_comes_back() -> None:
    phi, y, w = labels(40)
    statistics = of(phi, y, w)
    again = RidgeStatistics.from_arrays(statistics.arrays())
    assert same(again, statistics)
    again.add(phi[:3], y[:3])
    statistics.add(phi[:3], y[:3])
    assert same(again, statistics)


def test_no_labels_give_weights_of_zero() -> None:
    assert np.array_equal(RidgeStatistics(M, KEYS).solve(1.0), np.zeros((M, 3)))


@pytest.mark.parametrize(
    ("phi", "y", "w", "sentence"),
    [
        (np.ones((2, M + 1)), [0, 1], 1.0, "columns"),
        (np.ones((2, M)), [0, 3], 1.0, "outside"),
        (np.ones((2, M)), [-1, 0], 1.0, "outside"),
        (np.ones((2, M)), [0.0, 1.0], 1.0, "integer labels"),
        (np.ones((2, M)), [0], 1.0, "integer labels"),
        (np.full((2, M), np.nan), [0, 1], 1.0, "finite"),
        (np.ones((2, M)), [0, 1], -1.0, "not negative"),
    ],
)
def test_it_refuses_what_it_could_not_take_back(phi: np.ndarray, y: list[float], w: float, sentence: str) -> None:
    statistics = RidgeStatistics(M, KEYS)
    with pytest.raises(ValueError, match=sentence):
        statistics.add(phi, y, w)
    assert same(statistics, RidgeStatistics(M, KEYS))


@pytest.mark.parametrize("action", [
    lambda s: s.add_category("a"), lambda s: s.rename_category("a", "b"), lambda s: s.rename_category("x", "y"),
    lambda s: s.merge_categories(["x"], "a"), lambda s: s.delete_category("x"), lambda s: RidgeStatistics(3, ["a", "a"]),
])  # fmt: skip
def test_it_refuses_categories_that_clash_or_do_not_exist(action) -> None:
    with pytest.raises(ValueError, match=r"exists already|no category|listed twice"):
        action(RidgeStatistics(M, KEYS))


@pytest.mark.parametrize("n", [8, 60], ids=["kernel", "statistics"])
def test_held_out_scores_are_those_of_fits_without_the_fold(n: int) -> None:
    phi, y, w = labels(n)
    targets, folds = np.eye(3)[y], np.arange(n) % 4 - 1  # a quarter is never held out
    for lam, scores in held_out_scores(phi, targets, w, folds, (0.1, 2.0)):
        for fold in range(3):
            inside = folds == fold
            alone = of(phi[~inside], y[~inside], w[~inside]).solve(lam)
            assert scores[inside] == pytest.approx(phi[inside] @ alone, abs=1e-10)
        assert not scores[folds < 0].any()


def test_random_features_tell_apart_what_a_line_cannot() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 2))
    y = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(int)
    features = FeatureMap(2, 256)
    head = RidgeStatistics(features.width, ["a", "b"])
    head.add(features(x[:300]), y[:300])
    accuracy = ((features(x[300:]) @ head.solve(0.01)).argmax(1) == y[300:]).mean()
    assert accuracy > 0.9


def test_it_learns_clusters() -> None:
    x, y, _ = clusters(300, 5)
    fresh, truth, _ = clusters(200, 5, seed=9)
    features = FeatureMap(24, 256)
    head = RidgeStatistics(features.width, [str(i) for i in range(5)])
    head.add(features(x), y)
    assert ((features(fresh) @ head.solve(0.1)).argmax(1) == truth).mean() > 0.9
