"""The outlook: what the next labels bring, with an interval that holds the truth as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from learning.core.stopping import outlook

COUNTS = np.array([100, 200, 300, 400, 600, 800])


def curve(n):
    return 0.93 - 2.0 * np.asarray(n, dtype=float) ** -0.6


def test_the_interval_holds_the_true_gain_about_as_often_as_it_says():
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        right = rng.binomial(500, curve(COUNTS))
        gain = outlook(COUNTS, right, np.full(6, 500), rng).gain
        inside += gain.low <= curve(900) - curve(800) <= gain.high
    assert inside >= 51


def test_many_answers_narrow_the_interval_around_the_truth():
    rng = np.random.default_rng(0)
    few, many = (outlook(COUNTS, curve(COUNTS) * t, np.full(6, t), rng) for t in (100, 100_000))
    assert many.gain.high - many.gain.low < (few.gain.high - few.gain.low) / 3
    assert many.gain.estimate == pytest.approx(curve(900) - curve(800), abs=0.002)
    assert many.ceiling.estimate == pytest.approx(0.93, abs=0.02)


def test_a_flat_curve_is_not_worth_more_labels():
    rng = np.random.default_rng(0)
    found = outlook(COUNTS, np.full(6, 90_000), np.full(6, 100_000), rng)
    assert found.gain.high < 0.005
    assert not found.worth_it(0.005)


def test_two_points_leave_everything_open():
    found = outlook([100, 200], [50, 60], [100, 100], np.random.default_rng(0))
    assert (found.gain.low, found.gain.high) == (0.0, pytest.approx(0.4))
    assert found.worth_it(0.01)


def test_a_falling_curve_promises_nothing():
    found = outlook(COUNTS, np.linspace(9000, 6000, 6), np.full(6, 10_000), np.random.default_rng(0))
    assert found.gain.high < 0.01


def test_it_speaks_in_points_of_accuracy():
    said = outlook(COUNTS, curve(COUNTS) * 1000, np.full(6, 1000), np.random.default_rng(0)).in_words()
    assert said.startswith("the next 100 labels should bring")


def test_points_without_answers_are_refused():
    with pytest.raises(ValueError, match="at least one answer"):
        outlook([100, 200], [1, 2], [10, 0], np.random.default_rng(0))
