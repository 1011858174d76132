"""Logistic regression against scikit-learn, and where scikit-learn has no answer."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from learning.core.calibration import softmax
from learning.core.heads.linear import fit_linear, held_out_scores, with_bias
from tests.learning.core.heads.synthetic import clusters


def oracle(x: np.ndarray, y: np.ndarray, w: np.ndarray, C: float) -> np.ndarray:
    model = LogisticRegression(C=C, fit_intercept=False, tol=1e-10, max_iter=5000)
    return model.fit(with_bias(x), y, sample_weight=w).coef_.T


@pytest.mark.parametrize("C", [0.3, 10.0, 300.0])
def test_it_minimises_what_scikit_learn_minimises(C: float) -> None:
    x, y, _ = clusters(80, 4, spread=1.0)
    w = np.random.default_rng(0).uniform(0.2, 2, 80)
    found = fit_linear(x, np.eye(4)[y], w, C=C)
    assert softmax(with_bias(x) @ found) == pytest.approx(softmax(with_bias(x) @ oracle(x, y, w, C)), abs=1e-4)


def test_a_warm_start_ends_at_the_same_place() -> None:
    x, y, _ = clusters(60, 3, spread=1.0)
    cold = fit_linear(x, np.eye(3)[y], np.ones(60), C=10)
    warm = fit_linear(x, np.eye(3)[y], np.ones(60), C=10, start=np.random.default_rng(0).standard_normal(cold.shape))
    assert warm == pytest.approx(cold, abs=1e-3)


def test_the_quick_fit_is_close_to_the_exact_one() -> None:
    x, y, _ = clusters(60, 3, spread=1.0)
    given = (x, np.eye(3)[y], np.ones(60))
    assert softmax(with_bias(x) @ fit_linear(*given, C=30, exact=False)) == pytest.approx(
        softmax(with_bias(x) @ fit_linear(*given, C=30)), abs=0.02
    )


def test_it_is_deterministic() -> None:
    x, y, _ = clusters(60, 3)
    given = (x, np.eye(3)[y], np.ones(60))
    assert np.array_equal(fit_linear(*given, C=10), fit_linear(*given, C=10))


def test_a_category_without_labels_keeps_finite_weights_and_the_least_probability() -> None:
    x, y, _ = clusters(50, 3)
    found = fit_linear(x, np.eye(4)[y], np.ones(50), C=1000)
    assert np.isfinite(found).all()
    assert (softmax(with_bias(x) @ found)[:, 3] < 0.05).all()


def test_one_label_is_enough() -> None:
    found = fit_linear(np.eye(3)[:1], np.eye(2)[:1], np.ones(1), C=10)
    assert softmax(with_bias(np.eye(3)[:1]) @ found)[0, 0] > 0.8


def test_no_label_at_all_gives_weights_of_zero() -> None:
    assert not fit_linear(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0), C=10).any()
    assert not fit_linear(np.ones((2, 3)), np.eye(2), np.zeros(2), C=10).any()


def test_a_weight_of_two_is_the_row_twice() -> None:
    x, y, _ = clusters(30, 3, spread=1.0)
    w = np.ones(30)
    w[4] = 2
    twice = fit_linear(np.r_[x, x[4:5]], np.eye(3)[np.r_[y, y[4]]], np.ones(31), C=5)
    assert fit_linear(x, np.eye(3)[y], w, C=5) == pytest.approx(twice, abs=1e-3)


def test_soft_targets_are_weighted_labels() -> None:
    x, _, _ = clusters(20, 2, spread=1.0)
    soft = np.random.default_rng(0).dirichlet([1, 1], 20)
    hard = fit_linear(np.r_[x, x], np.repeat(np.eye(2), 20, axis=0), np.r_[soft[:, 0], soft[:, 1]], C=5)
    assert fit_linear(x, soft, np.ones(20), C=5) == pytest.approx(hard, abs=1e-3)


def test_held_out_scores_never_saw_their_row() -> None:
    x, y, _ = clusters(60, 3, spread=1.0)
    folds = np.arange(60) % 3 - 1
    other = np.eye(3)[y].copy()
    other[folds == 0] = np.roll(other[folds == 0], 1, axis=1)  # other labels inside the fold
    first = dict(held_out_scores(x, np.eye(3)[y], np.ones(60), folds, (1.0, 10.0)))
    second = dict(held_out_scores(x, other, np.ones(60), folds, (1.0, 10.0)))
    for C in (1.0, 10.0):
        assert np.array_equal(first[C][folds == 0], second[C][folds == 0])
        assert not np.array_equal(first[C][folds == 1], second[C][folds == 1])
        assert not first[C][folds < 0].any()


@pytest.mark.parametrize(("n", "w"), [(3, np.ones(4)), (4, np.array([1, 1, -1, 1.0]))])
def test_it_refuses_what_does_not_fit(n: int, w: np.ndarray) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        fit_linear(np.ones((n, 2)), np.ones((4, 2)) / 2, w, C=1)
