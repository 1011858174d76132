"""The sample-size calculator against textbook formulas and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import power_proportions_2indep, samplesize_proportions_2indep_onetail

from feedback.problems import Problem
from serving.rollouts_api import plan
from serving.sample_size import detectable_drop, power, sample_size


@pytest.mark.parametrize(("base", "drop"), [(0.8, 0.05), (0.93, 0.02), (0.5, 0.1), (0.1, 0.03)])
def test_the_sample_size_is_that_of_an_independent_implementation(base, drop):
    expected = samplesize_proportions_2indep_onetail(-drop, base, power=0.8, alpha=0.05, alternative="smaller")
    assert sample_size(base, drop) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("per_arm", [100, 500, 2000])
def test_the_power_is_that_of_an_independent_implementation(per_arm):
    expected = power_proportions_2indep(-0.05, 0.8, per_arm, alpha=0.05, alternative="smaller").power
    assert power(0.8, 0.05, per_arm) == pytest.approx(expected, abs=0.01)


def test_the_promised_power_is_found_by_simulation():
    n, rng = sample_size(0.8, 0.05), np.random.default_rng(0)
    a, b = rng.binomial(n, 0.75, 20_000) / n, rng.binomial(n, 0.8, 20_000) / n
    pooled = (a + b) / 2
    z = (b - a) / np.sqrt(2 * pooled * (1 - pooled) / n)
    assert (z > 1.645).mean() == pytest.approx(0.8, abs=0.015)


@settings(deadline=None)
@given(base=st.floats(0.2, 0.95), drop=st.floats(0.01, 0.15))
def test_sample_size_and_power_undo_each_other(base, drop):
    n = sample_size(base, drop)
    assert power(base, drop, n) >= 0.8
    assert power(base, drop, n - 1) < 0.8 or n == 1


@settings(deadline=None)
@given(base=st.floats(0.3, 0.95), per_arm=st.integers(200, 20_000))
def test_the_detectable_drop_has_the_wanted_power(base, per_arm):
    assert power(base, detectable_drop(base, per_arm), per_arm) == pytest.approx(0.8, abs=1e-6)


def test_two_sides_need_more_customers_than_one():
    assert sample_size(0.8, 0.05, sides=2) > sample_size(0.8, 0.05)


@pytest.mark.parametrize(("base", "drop"), [(0.8, 0), (0.8, 0.9), (1.2, 0.1)])
def test_impossible_questions_are_refused(base, drop):
    with pytest.raises(ValueError):
        sample_size(base, drop)


@pytest.mark.parametrize(
    ("field", "value"), [("drop", 6e-274), ("drop", 2.0), ("per_day", 1e-320), ("power", 1.0), ("alpha", 0.0)]
)
def test_the_calculator_refuses_what_no_number_of_customers_answers(field, value):
    asked = {"base": 0.8, "drop": 0.05, "power": 0.8, "alpha": 0.05, "per_day": 100.0} | {field: value}
    with pytest.raises(Problem) as refused:
        plan(**asked)
    assert (refused.value.status, refused.value.field) == (422, field)
