"""Inverse-propensity accuracy: unbiased, covered by its interval, and honest about what was not answered."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from learning.core.audit import (
    Estimate,
    audited_share,
    audited_shares,
    drop_bounds,
    exact_interval,
    horvitz_thompson,
    nonresponse_bounds,
)


def simulated_draws(rng: np.random.Generator, *, population: int = 4000) -> tuple[np.ndarray, np.ndarray, float]:
    """Answers that are wrong more often where the audit looks more often, as doubtful ones are."""
    doubt = rng.random(population)
    correct = rng.random(population) < 1 - 0.4 * doubt
    propensity = 0.02 + 0.2 * doubt
    drawn = rng.random(population) < propensity
    return correct[drawn], propensity[drawn], correct.mean()


def test_the_estimate_is_unbiased_where_the_plain_mean_is_not():
    rng = np.random.default_rng(0)
    runs = [simulated_draws(rng) for _ in range(300)]
    weighted = np.mean([audited_share(c, p).value - truth for c, p, truth in runs])
    unnormalised = np.mean([horvitz_thompson(c, p, 4000) - truth for c, p, truth in runs])
    plain = np.mean([c.mean() - truth for c, _, truth in runs])
    assert abs(weighted) < 0.005
    assert abs(unnormalised) < 0.02
    assert plain < -0.03


@pytest.mark.parametrize("accuracy", [0.75, 0.97])
def test_the_interval_covers_the_truth(accuracy):
    rng, covered = np.random.default_rng(1), 0
    for _ in range(400):
        propensity = rng.choice([0.02, 0.2], 2000)
        drawn = rng.random(2000) < propensity
        found = audited_share(rng.random(drawn.sum()) < accuracy, propensity[drawn])
        covered += found.lower <= accuracy <= found.upper
    assert covered / 400 >= 0.94


def test_equal_propensities_give_the_textbook_interval():
    hits = np.arange(50) < 43
    found = audited_share(hits, np.full(50, 0.1))
    assert (found.lower, found.upper) == pytest.approx(proportion_confint(43, 50, method="beta"))
    assert found.effective_n == pytest.approx(50)


@pytest.mark.parametrize("hits", [0, 1, 10])
def test_an_all_right_or_all_wrong_audit_still_has_an_open_side(hits):
    assert exact_interval(hits, 10) == pytest.approx(proportion_confint(hits, 10, method="beta"), nan_ok=False)


@settings(deadline=None)
@given(hits=st.lists(st.booleans(), min_size=1, max_size=40), seed=st.integers(0, 1000))
def test_the_value_lies_within_its_interval(hits, seed):
    found = audited_share(hits, np.random.default_rng(seed).uniform(0.01, 1, len(hits)))
    assert 0 <= found.lower <= found.value + 1e-9
    assert found.value <= found.upper + 1e-9 <= 1 + 2e-9
    assert 0 < found.effective_n <= len(hits) + 1e-9


def test_an_empty_audit_knows_nothing():
    found = audited_share([], [])
    assert math.isnan(found.value)
    assert (found.lower, found.upper) == (0, 1)
    assert drop_bounds(found, found) == (-1, 1)


@pytest.mark.parametrize("propensity", [[0.0, 0.5], [0.5, 1.5], [-0.1, 0.5]])
def test_an_impossible_propensity_is_refused(propensity):
    with pytest.raises(ValueError, match="propensities"):
        audited_share([True, False], propensity)


def test_class_shares_undo_the_draw():
    rng = np.random.default_rng(2)
    label = (rng.random(40_000) < 0.3).astype(int)
    propensity = np.where(label == 1, 0.3, 0.05)
    drawn = rng.random(40_000) < propensity
    assert audited_shares(label[drawn], propensity[drawn], 2)[1] == pytest.approx(0.3, abs=0.02)


def test_class_shares_of_nothing_are_equal():
    assert audited_shares([], [], 4).tolist() == [0.25] * 4


def test_the_bounds_of_a_drop_agree_with_an_independent_implementation():
    before, now = audited_share(np.arange(300) < 270, np.ones(300)), audited_share(np.arange(250) < 205, np.ones(250))
    expected = confint_proportions_2indep(270, 300, 205, 250, method="newcomb")
    assert drop_bounds(before, now) == pytest.approx(expected, abs=0.01)


def test_missing_answers_widen_the_range():
    assert nonresponse_bounds(Estimate(0.9, 0.8, 0.95, 80, 80), 100) == pytest.approx((0.72, 0.92))
    assert nonresponse_bounds(Estimate(0.9, 0.8, 0.95, 80, 80), 80) == pytest.approx((0.9, 0.9))


def test_more_answers_than_draws_are_refused():
    with pytest.raises(ValueError):
        nonresponse_bounds(Estimate(0.9, 0.8, 0.95, 80, 80), 79)
