"""The attribution test sees a model that decides by other coordinates, and is calibrated where nothing changed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from learning.core.drift.attribution import GAP, AttributionShift, attribution_shift


def drawn(rng: np.random.Generator, n: int, scale: np.ndarray) -> np.ndarray:
    return rng.normal(size=(n, len(scale))) * scale


SCALE = np.linspace(2, 0.05, 30)


def test_the_gap_is_scipys_statistic_of_the_coordinate_that_moved_most():
    rng = np.random.default_rng(1)
    reference, window = drawn(rng, 400, SCALE), drawn(rng, 100, SCALE)
    window[:, 2] += 1.5
    found = attribution_shift(window, reference, rng=rng, resamples=50)
    assert found.gap == pytest.approx(
        max(ks_2samp(window[:, j], reference[:, j]).statistic for j in range(10)), abs=1e-6
    )
    assert found.p_value == pytest.approx(1 / 51)
    assert found.drifted(0.05)


def test_a_coordinate_that_never_mattered_is_not_looked_at():
    rng = np.random.default_rng(2)
    reference, window = drawn(rng, 400, SCALE), drawn(rng, 100, SCALE)
    quiet = attribution_shift(window, reference, rng=np.random.default_rng(0), resamples=50)
    window[:, 29] += 0.02
    assert attribution_shift(window, reference, rng=np.random.default_rng(0), resamples=50) == quiet


def test_clean_windows_alarm_as_often_as_stated():
    rng = np.random.default_rng(3)
    reference = drawn(rng, 300, SCALE)
    p = [attribution_shift(drawn(rng, 60, SCALE), reference, rng=rng, resamples=60).p_value for _ in range(60)]
    assert np.mean(np.array(p) <= 0.1) <= 0.25  # binomial with 60 draws at 0.1: beyond this with chance 1 in 1,000


def test_a_gap_beyond_chance_that_is_small_is_no_drift():
    assert not AttributionShift(GAP - 0.01, 0.001).drifted(0.05)
    assert not AttributionShift(GAP + 0.1, 0.2).drifted(0.05)


def test_too_few_texts_are_refused():
    few = np.zeros((19, 3))
    with pytest.raises(ValueError, match="20 texts"):
        attribution_shift(few, np.zeros((100, 3)), rng=np.random.default_rng(0))


@settings(max_examples=20, deadline=None)
@given(n=st.integers(20, 80), large=st.integers(20, 80), seed=st.integers(0, 99))
def test_a_gap_and_its_chance_are_shares_whatever_the_sizes(n, large, seed):
    rng = np.random.default_rng(seed)
    found = attribution_shift(rng.normal(size=(n, 4)), rng.normal(size=(large, 4)), rng=rng, resamples=10)
    assert 0 <= found.gap <= 1
    assert 0 < found.p_value <= 1
