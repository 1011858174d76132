"""Calibration against independent oracles (scikit-learn, statsmodels, SciPy) and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.metrics import brier_score_loss, log_loss
from statsmodels.stats.proportion import proportion_confint

from learning.core import calibration as cal


def sample(n: int, classes: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose true temperature is ``sharpness``."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, classes)) * 2
    p = cal.softmax(z)
    y = np.array([rng.choice(classes, p=row) for row in p])
    return z * sharpness, y


def test_log_loss_is_scikit_learns() -> None:
    z, y = sample(200, 5, 1.0)
    w = np.random.default_rng(1).random(200)
    assert cal.log_loss(z, y, w) == pytest.approx(
        log_loss(y, cal.softmax(z), sample_weight=w, labels=range(5)), abs=1e-12
    )


def test_the_brier_score_of_two_categories_is_twice_scikit_learns() -> None:
    z, y = sample(100, 2, 1.0)
    p = cal.softmax(z)
    assert cal.brier_score(p, y) == pytest.approx(2 * brier_score_loss(y, p[:, 1]), abs=1e-12)


@pytest.mark.parametrize("true", [0.05, 1.0, 15.0])
def test_the_temperature_undoes_a_scale(true: float) -> None:
    z, y = sample(4000, 6, true)
    assert cal.fit_temperature(z, y) == pytest.approx(true, rel=0.1)


def test_the_temperature_minimises_the_smoothed_loss() -> None:
    z, y = sample(60, 4, 3.0, seed=2)
    targets = cal.platt_targets(y, 4)
    oracle = minimize_scalar(
        lambda t: -(targets * cal.log_softmax(z / np.exp(t))).sum(),
        bounds=(-5, 5),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert cal.fit_temperature(z, y) == pytest.approx(np.exp(oracle.x), rel=1e-5)


def test_five_right_answers_do_not_make_it_certain() -> None:
    z = np.eye(5)
    p = cal.softmax(z / cal.fit_temperature(z, np.arange(5)))
    assert np.diag(p) == pytest.approx(6 / 7, abs=1e-6)


def test_useless_scores_end_near_uniform() -> None:
    z = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    p = cal.softmax(z / cal.fit_temperature(z, np.array([1, 1, 0, 0])))
    assert p == pytest.approx(np.full((4, 2), 0.5), abs=1e-3)


@pytest.mark.parametrize(
    "z",
    [np.zeros((0, 3)), np.zeros((2, 1)), np.zeros((2, 3)), np.full((2, 3), 7.0)],
    ids=["none", "one class", "zero", "flat"],
)
def test_where_nothing_can_be_fitted_the_temperature_is_one(z: np.ndarray) -> None:
    assert cal.fit_temperature(z, np.zeros(len(z), dtype=int)) == 1.0


def test_weights_of_zero_leave_items_out() -> None:
    z, y = sample(100, 3, 2.0)
    w = np.r_[np.ones(50), np.zeros(50)]
    assert cal.fit_temperature(z, y, w) == pytest.approx(cal.fit_temperature(z[:50], y[:50]), rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(2, 6), st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_the_temperature_follows_the_scale_of_the_scores(n: int, classes: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, y = rng.standard_normal((n, classes)), rng.integers(0, classes, n)
    assert cal.fit_temperature(z * scale, y) == pytest.approx(scale * cal.fit_temperature(z, y), rel=1e-6)


def test_crossfit_judges_each_item_by_a_temperature_that_did_not_see_it() -> None:
    z, y = sample(90, 3, 2.0)
    folds = np.arange(90) % 3
    temperature, p = cal.crossfit(z, y, folds)
    assert temperature == cal.fit_temperature(z, y)
    assert p[folds == 1] == pytest.approx(
        cal.softmax(z[folds == 1] / cal.fit_temperature(z[folds != 1], y[folds != 1]))
    )


def naive_ece(p: np.ndarray, y: np.ndarray, bins: int) -> float:
    confidence, right, total = p.max(axis=1), p.argmax(axis=1) == y, 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


def test_ece_is_what_its_definition_says() -> None:
    z, y = sample(500, 4, 2.5)
    p = cal.softmax(z)
    assert cal.expected_calibration_error(p, y, bins=10) == pytest.approx(naive_ece(p, y, 10), abs=1e-12)


@pytest.mark.parametrize("equal_mass", [False, True])
def test_ece_tells_calibrated_from_overconfident(equal_mass: bool) -> None:
    z, y = sample(5000, 4, 1.0)
    honest = cal.expected_calibration_error(cal.softmax(z), y, equal_mass=equal_mass)
    bold = cal.expected_calibration_error(cal.softmax(4 * z), y, equal_mass=equal_mass)
    assert honest < 0.03 < 0.1 < bold


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (930, 1000)])
def test_wilsons_interval_is_statsmodels(k: int, n: int) -> None:
    found = cal.wilson(k, n)
    assert (found.low, found.high) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)


def test_no_answers_say_nothing_about_accuracy() -> None:
    assert cal.wilson(0, 0).low == 0.0
    assert cal.paired_difference([], []).high == 1.0
    assert np.isnan(cal.expected_calibration_error(np.zeros((0, 2)), np.zeros(0, dtype=int)))
    assert np.isnan(cal.brier_score(np.zeros((0, 2)), np.zeros(0, dtype=int)))


def test_the_paired_interval_covers_the_true_difference_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        outcome = rng.choice(4, size=100, p=[0.8, 0.09, 0.05, 0.06])  # both right, first only, second only, none
        found = cal.paired_difference((outcome == 0) | (outcome == 1), (outcome == 0) | (outcome == 2))
        covered += found.low <= 0.04 <= found.high
    assert 0.93 <= covered / 2000 <= 0.98


def test_models_that_agree_everywhere_differ_by_nothing() -> None:
    found = cal.paired_difference([True] * 400, [True] * 400)
    assert found.estimate == 0.0
    assert -0.01 < found.low < 0 < found.high < 0.01


def test_a_paired_interval_needs_the_same_items() -> None:
    with pytest.raises(ValueError, match="same ones"):
        cal.paired_difference([True], [True, False])
