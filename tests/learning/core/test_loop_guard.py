"""The hidden loop: alpha covered where planted, instability foretold, and the guard that holds a real classifier to the
truth.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from statsmodels.stats.contingency_tables import StratifiedTable

from learning.core import loop_guard
from learning.core.audit import audited_shares
from learning.core.loop_guard import (
    Alpha,
    Labels,
    Origin,
    alarms,
    confusing,
    copy_rate,
    critical_alpha,
    exposure_bias,
    guarded_weights,
    largest_eigenvalue,
    measure_alpha,
    sharpening,
    simulate_loop,
)


def planted(rng: np.random.Generator, *, copies: float, accuracy: float, n: int = 1500) -> tuple[Labels, float]:
    """Labels of which a share was copied, and the share of weight that truly came from the model."""
    origin = rng.choice([Origin.OWN, Origin.SEEN, Origin.BLIND], n, p=[0.4, 0.4, 0.2])
    weight, stratum = rng.uniform(0.2, 1, n), rng.integers(0, 3, n)
    weight[: n // 20] = 0  # audit labels that do not train
    origin[: n // 20] = Origin.BLIND
    right = rng.random(n) < np.array([accuracy - 0.1, accuracy, accuracy + 0.04])[stratum]
    copied = (origin == Origin.SEEN) & (rng.random(n) < copies)
    agrees = right | copied | (origin == Origin.OWN)
    from_model = weight[(origin == Origin.OWN) | copied].sum() / weight.sum()
    return Labels(origin, weight, agrees, stratum), float(from_model)


@pytest.mark.parametrize("copies", [0.0, 0.1, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("accuracy", [0.6, 0.9])
def test_the_interval_covers_the_planted_alpha_where_annotators_copy(copies, accuracy):
    rng, covered = np.random.default_rng(int(100 * copies + 10 * accuracy)), 0
    for _ in range(150):
        labels, truth = planted(rng, copies=copies, accuracy=accuracy)
        found = measure_alpha(labels)
        covered += found.lower - 1e-9 <= truth <= found.upper + 1e-9
    assert covered / 150 >= 0.92


def test_own_answers_alone_are_measured_without_doubt():
    labels = Labels(np.array([0, 0, 2, 2]), np.array([1.0, 0.5, 1.0, 2.5]), np.ones(4, bool), np.zeros(4, int))
    found = measure_alpha(labels)
    assert found.own == found.lower == pytest.approx(0.3)
    assert found.upper == pytest.approx(0.3)


def test_without_blind_labels_only_the_bounds_are_known():
    labels = Labels(np.array([0, 1, 1, 1]), np.ones(4), np.array([True, True, True, False]), np.zeros(4, int))
    found = measure_alpha(labels)
    assert (found.lower, found.upper) == (0.25, 0.75)
    assert math.isnan(found.copy_rate)
    assert [a.code for a in alarms(found)] == ["alpha", "unmeasured"]


def test_copying_is_not_confused_with_suggestions_shown_on_easy_items():
    """Nobody copies, but suggestions are shown where the model is sure: only the strata tell."""
    rng = np.random.default_rng(5)
    stratum = rng.integers(0, 2, 8000)
    origin = np.where(rng.random(8000) < np.where(stratum == 1, 0.9, 0.1), Origin.SEEN, Origin.BLIND)
    agrees = rng.random(8000) < np.where(stratum == 1, 0.97, 0.6)
    naive = copy_rate(Labels(origin, np.ones(8000), agrees, np.zeros(8000, int)))
    fair = copy_rate(Labels(origin, np.ones(8000), agrees, stratum))
    assert naive[0] > 0.5
    assert fair[1] <= 0.0 <= fair[2] < 0.25


def test_the_pooled_ratio_is_that_of_an_independent_implementation():
    tables = np.array([[30, 170, 25, 75], [8, 92, 40, 160]], dtype=float)  # disagree, agree: shown, then blind
    d_s, d_b = tables[:, 0], tables[:, 2]
    n_s, n_b = tables[:, :2].sum(1), tables[:, 2:].sum(1)
    ratio, _ = loop_guard._mantel_haenszel(d_s, n_s, d_b, n_b)
    oracle = StratifiedTable([t.reshape(2, 2) for t in tables])
    assert ratio == pytest.approx(oracle.riskratio_pooled)


def test_when_nobody_who_saw_a_suggestion_disagreed_the_bound_stays_open():
    labels = Labels(np.repeat([1, 2], 20), np.ones(40), np.arange(40) < 32, np.zeros(40, int))
    rate, low, high = copy_rate(labels)
    assert low < rate < high <= 1


@pytest.mark.parametrize(
    ("origin", "weight"),
    [([0, 1], [1.0]), ([0, 1], [-1.0, 2.0]), ([0, 1], [0.0, 0.0])],
    ids=["length", "negative", "none"],
)
def test_impossible_labels_are_refused(origin, weight):
    with pytest.raises(ValueError):
        Labels(np.array(origin), np.array(weight), np.ones(2, bool), np.zeros(2, int))


def test_the_loop_ends_where_its_fixed_point_lies():
    truth, response = np.array([0.55, 0.45]), sharpening(3)

    def moved(p: float) -> float:
        return 0.4 * 0.55 + 0.6 * float(response(np.array([p, 1 - p]))[0]) - p

    fixed = brentq(moved, 0.6, 0.99)
    assert simulate_loop(truth, 0.6, response, 60)[-1][0] == pytest.approx(fixed, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(
    alpha=st.floats(0, 0.95),
    power=st.floats(0.2, 4),
    start=st.lists(st.floats(0.05, 1), min_size=2, max_size=6),
)
def test_shares_stay_shares(alpha, power, start):
    truth = np.array(start) / sum(start)
    shares = simulate_loop(truth, alpha, sharpening(power), 10, start=truth[::-1])
    assert shares.sum(1) == pytest.approx(np.ones(11))
    assert (shares >= 0).all()


def test_the_eigenvalue_tells_growth_from_decay():
    even, response = np.array([0.5, 0.5]), sharpening(2)
    start = np.array([0.51, 0.49])
    assert largest_eigenvalue(0.6, response, even) == pytest.approx(1.2, abs=1e-4)
    assert critical_alpha(response, even) == pytest.approx(0.5, abs=1e-4)
    grows = simulate_loop(even, 0.6, response, 30, start=start)[-1][0]
    dies = simulate_loop(even, 0.4, response, 30, start=start)[-1][0]
    assert grows > 0.6
    assert dies == pytest.approx(0.5, abs=1e-3)


def test_fixed_errors_give_the_second_eigenvalue_of_the_confusion():
    confusion = np.array([[0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [0.05, 0.05, 0.9]])
    second = np.sort(np.abs(np.linalg.eigvals(confusion)))[-2]
    assert largest_eigenvalue(0.5, confusing(confusion), np.full(3, 1 / 3)) == pytest.approx(0.5 * second, abs=1e-6)
    assert critical_alpha(confusing(confusion), np.full(3, 1 / 3)) == 1


class Bayes:
    """Linear discriminant analysis with class priors: the smallest classifier that learns both shape and share."""

    def __init__(self, x: np.ndarray, label: np.ndarray, weight: np.ndarray) -> None:
        mass = np.bincount(label, weights=weight, minlength=2)
        means = np.array([np.average(x[label == c], axis=0, weights=weight[label == c]) for c in (0, 1)])
        rest = x - means[label]
        inverse = np.linalg.inv((weight[:, None] * rest).T @ rest / weight.sum() + 1e-3 * np.eye(x.shape[1]))
        self.slope = inverse @ (means[1] - means[0])
        self.bias = np.log(mass[1] / mass[0]) - self.slope @ means.mean(0)

    def answers(self, x: np.ndarray) -> np.ndarray:
        return (x @ self.slope + self.bias > 0).astype(int)


def closed_loop(
    *, guarded: bool, seed: int, alpha: float = 0.6, truth: float = 0.55, rounds: int = 25
) -> tuple[float, float]:
    """Share of class 1 in the training data and in the answers, after rounds in which the model labels alpha of it."""
    rng = np.random.default_rng(seed)

    def customers(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = (rng.random(n) < truth).astype(int)
        return np.where(y == 1, 0.2, -0.2)[:, None] * np.eye(4)[0] + rng.normal(size=(n, 4)), y

    x, y = customers(4000)
    model = Bayes(x, y, np.ones(4000))
    for _ in range(rounds):
        x, y = customers(4000)
        own = rng.random(4000) < alpha
        label, weight = np.where(own, model.answers(x), y), np.ones(4000)
        if guarded:
            propensity = np.where(model.answers(x) == 1, 0.1, 0.2)  # drawn over every kind of decision
            drawn = rng.random(4000) < propensity
            weight = guarded_weights(label, own, weight, audited_shares(y[drawn], propensity[drawn], 2))
        model = Bayes(x, label, weight)
    return float(np.average(label, weights=weight)), float(model.answers(x).mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_guard_holds_the_class_share_where_the_bare_loop_runs_away(seed):
    bare, _ = closed_loop(guarded=False, seed=seed)
    held, _ = closed_loop(guarded=True, seed=seed)
    assert abs(bare - 0.55) > 0.25
    assert abs(held - 0.55) < 0.05


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), bound=st.floats(0.1, 0.9), share=st.floats(0.3, 0.9))
def test_guarded_weights_respect_the_bound_and_the_shares(seed, bound, share):
    rng = np.random.default_rng(seed)
    label, own = rng.integers(0, 3, 600), rng.random(600) < share
    target = np.array([0.5, 0.3, 0.2])
    weight = guarded_weights(label, own, np.ones(600), target, bound=bound)
    assert (weight >= 0).all()
    assert weight[own].sum() / weight.sum() <= bound + 1e-6
    assert np.bincount(label, weights=weight) / weight.sum() == pytest.approx(target, abs=0.03)


def test_a_rare_label_cannot_rule_and_a_missing_class_stays_missing():
    label = np.array([0] * 99 + [1])
    weight = guarded_weights(label, np.zeros(100, bool), np.ones(100), np.array([0.4, 0.4, 0.2]), most=5)
    assert weight.max() <= 5
    assert weight[99] == pytest.approx(5)


def test_a_loop_fed_by_the_model_alone_is_silenced():
    weight = guarded_weights(np.array([0, 1]), np.ones(2, bool), np.ones(2), np.array([0.5, 0.5]))
    assert weight.sum() == 0


def test_exposure_bias_is_the_share_that_would_have_to_move():
    assert exposure_bias(np.array([0.7, 0.2, 0.1]), np.array([0.5, 0.3, 0.2])) == pytest.approx(0.2)


def test_a_healthy_loop_raises_no_alarm():
    healthy = Alpha(0.2, 0.15, 0.25, 0.1, 0.3, 0.35, 0.3)
    assert alarms(healthy, eigenvalue=0.4, exposure=0.05) == []


def test_an_unstable_loop_is_named_first():
    sick = Alpha(0.7, 0.6, 0.8, 0.5, 0.3, 0.8, 0.6)
    found = alarms(sick, eigenvalue=1.3, exposure=0.3)
    assert [a.code for a in found] == ["unstable", "alpha", "exposure"]
    assert "is learning" in found[1].sentence
