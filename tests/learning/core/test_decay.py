"""The decay curve: found again where it was planted, and silent where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from learning.core.decay import Audit, Decay, fit, forecast

PLANTED = Decay(start=0.94, floor=0.70, rate=0.05)


def audits(
    decay: Decay, *, n: int, days: int = 60, step: int = 4, rng: np.random.Generator | None = None
) -> list[Audit]:
    def correct(day: int) -> float:
        return n * decay.at(day) if rng is None else float(rng.binomial(n, decay.at(day)))

    return [Audit(day, correct(day), n) for day in range(0, days, step)]


@settings(max_examples=30, deadline=None)
@given(start=st.floats(0.8, 0.99), drop=st.floats(0.05, 0.5), rate=st.floats(0.02, 0.15))
def test_a_curve_without_noise_is_found_again(start, drop, rate):
    planted = Decay(start, start - drop, rate)
    found = fit(audits(planted, n=1000))
    assert found.rate == pytest.approx(rate, rel=0.05)
    assert all(found.at(day) == pytest.approx(planted.at(day), abs=0.003) for day in range(0, 60, 7))


def test_the_fit_is_that_of_a_general_optimiser():
    seen = audits(PLANTED, n=400, rng=np.random.default_rng(1))
    days = np.array([a.day for a in seen])
    share = np.array([a.correct / a.n for a in seen])
    smooth = np.array([(a.correct + 1) / (a.n + 2) for a in seen])

    def curve(t, start, floor, rate):
        return floor + (start - floor) * np.exp(-rate * t)

    oracle, _ = curve_fit(curve, days, share, p0=(0.9, 0.6, 0.05), sigma=np.sqrt(smooth * (1 - smooth) / 400))
    found = fit(seen)
    assert [found.at(d) for d in days] == pytest.approx(curve(days, *oracle).tolist(), abs=0.003)


def test_the_expected_day_lies_where_the_curve_crosses():
    day = PLANTED.day_below(0.85)
    assert PLANTED.at(day) == pytest.approx(0.85)
    assert forecast(audits(PLANTED, n=4000), 0.85, rng=np.random.default_rng(0)).day == pytest.approx(day, rel=0.05)


def test_the_interval_of_the_expected_day_covers_the_planted_one():
    rng, day, covered = np.random.default_rng(2), PLANTED.day_below(0.85), 0
    for _ in range(60):
        found = forecast(audits(PLANTED, n=300, rng=rng), 0.85, rng=rng, resamples=100)
        covered += (
            found.earliest is not None and found.earliest <= day and (found.latest is None or day <= found.latest)
        )
    assert covered / 60 >= 0.8


def test_a_curve_that_levels_off_above_the_threshold_has_no_day():
    found = forecast(audits(Decay(0.95, 0.9, 0.1), n=3000), 0.8, rng=np.random.default_rng(0))
    assert found.day is None
    assert found.reached < 0.05


def test_accuracy_that_does_not_fall_is_a_flat_line():
    rising = [Audit(day, 80 + day, 100) for day in range(10)]
    assert fit(rising).rate == 0
    assert fit(rising).day_below(0.7) is None


def test_a_day_beyond_the_horizon_is_not_promised():
    found = forecast(audits(Decay(0.95, 0.2, 0.002), n=100_000), 0.5, rng=np.random.default_rng(0), horizon=100)
    assert found.day is None


def test_accuracy_that_has_already_fallen_is_due_today():
    assert Decay(0.8, 0.7, 0.1).day_below(0.85) == 0


@settings(deadline=None)
@given(counts=st.lists(st.integers(0, 20), min_size=3, max_size=12))
def test_the_curve_stays_between_nought_and_one(counts):
    found = fit([Audit(day, c, 20) for day, c in enumerate(counts)])
    assert 0 <= found.floor <= found.start <= 1


@pytest.mark.parametrize(
    "seen",
    [
        [Audit(0, 1, 2), Audit(1, 1, 2)],
        [Audit(0, 1, 2)] * 3,
        [Audit(0, 3, 2), Audit(1, 1, 2), Audit(2, 1, 2)],
        [Audit(0, 0, 0), Audit(1, 1, 2), Audit(2, 1, 2)],
    ],
)
def test_too_few_days_or_impossible_counts_are_refused(seen):
    with pytest.raises(ValueError):
        fit(seen)
