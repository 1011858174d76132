"""The three measures, against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy

from learning.selection.uncertainty import MEASURES, entropy, least_confidence, margin, measure, uncertainties
from tests.learning.selection.worlds import world

rows = st.lists(st.floats(0.001, 1.0), min_size=2, max_size=8).map(
    lambda v: np.array([v], np.float32) / np.float32(sum(v))
)


@settings(deadline=None)
@given(rows)
def test_they_are_the_textbook_measures_scaled_to_one(p):
    top = np.sort(p[0])[::-1]
    c = p.shape[1]
    assert entropy(p)[0] == pytest.approx(scipy_entropy(p[0]) / np.log(c), abs=1e-4)
    assert margin(p)[0] == pytest.approx(1 - (top[0] - top[1]), abs=1e-5)
    assert least_confidence(p)[0] == pytest.approx((1 - top[0]) * c / (c - 1), abs=1e-5)


@pytest.mark.parametrize("name", MEASURES)
def test_they_reach_zero_when_sure_and_one_when_not(name):
    p = np.array([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]], dtype=np.float32)
    assert measure(name)(p) == pytest.approx([0.0, 1.0], abs=1e-6)


def test_without_a_head_everything_is_unsure():
    assert (uncertainties(world(probabilities=None), "margin") == 1).all()


def test_measures_computed_while_scoring_are_used_as_they_are():
    given_measures = {"margin": np.linspace(0, 1, 300, dtype=np.float32)}
    state = world(probabilities=None, uncertainty=given_measures)
    assert np.array_equal(uncertainties(state, "margin"), given_measures["margin"])


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="no uncertainty"):
        measure("surprise")
