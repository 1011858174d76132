"""Off-policy estimators: unbiased where they say so, covered by their intervals, right in closed cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.preference.offpolicy import doubly_robust, ips, snips

LOGGED, NEW = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.3, 0.6])
MEANS = np.array([0.2, 0.5, 0.8])
TRUE = float(NEW @ MEANS)


def log(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shown = rng.choice(3, n, p=LOGGED)
    return shown, (rng.random(n) < MEANS[shown]).astype(float)


def estimates(shown: np.ndarray, reward: np.ndarray, model: np.ndarray) -> dict[str, object]:
    target, propensity = NEW[shown], LOGGED[shown]
    value = np.full(len(shown), NEW @ model)
    robust = doubly_robust(reward, target, propensity, predicted=model[shown], model_value=value)
    return {"ips": ips(reward, target, propensity), "snips": snips(reward, target, propensity), "dr": robust}


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_95_percent_intervals_cover_the_truth_about_that_often(name: str) -> None:
    covered, values = 0, []
    for seed in range(300):
        estimate = estimates(*log(400, seed), MEANS + 0.1)[name].estimate()  # type: ignore[attr-defined]
        covered += estimate.low <= TRUE <= estimate.high
        values.append(estimate.value)
    assert 0.91 <= covered / 300 <= 0.985
    assert np.mean(values) == pytest.approx(TRUE, abs=0.01)


def test_doubly_robust_is_right_with_wrong_propensities_and_a_right_model() -> None:
    shown, reward = log(20_000, 0)
    wrong = np.array([0.3, 0.3, 0.4])[shown]
    value = np.full(len(shown), NEW @ MEANS)
    robust = doubly_robust(reward, NEW[shown], wrong, predicted=MEANS[shown], model_value=value).estimate()
    assert robust.value == pytest.approx(TRUE, abs=0.02)
    assert abs(ips(reward, NEW[shown], wrong).estimate().value - TRUE) > 0.1


def test_a_good_model_makes_doubly_robust_narrower_than_ips() -> None:
    found = estimates(*log(1000, 1), MEANS)
    widths = {name: terms.estimate().high - terms.estimate().low for name, terms in found.items()}  # type: ignore[attr-defined]
    assert widths["dr"] < widths["snips"] < widths["ips"]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_self_normalised_estimate_stays_within_the_rewards(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reward, target, propensity = rng.random(30), rng.random(30), rng.uniform(0.001, 1, 30)
    value = snips(reward, target, propensity).estimate().value
    assert reward.min() - 1e-9 <= value <= reward.max() + 1e-9


def test_the_logging_policy_itself_is_valued_at_the_mean_reward() -> None:
    shown, reward = log(500, 2)
    p = LOGGED[shown]
    for terms in (ips(reward, p, p), snips(reward, p, p)):
        assert terms.estimate().value == pytest.approx(reward.mean())
        assert terms.estimate().effective == pytest.approx(500)


def test_votes_without_weight_count_for_nothing() -> None:
    shown, reward = log(200, 3)
    target, propensity = NEW[shown], LOGGED[shown]
    half = (np.arange(200) < 100).astype(float)
    part = ips(reward[:100], target[:100], propensity[:100]).estimate()
    whole = ips(reward, target, propensity, weights=half).estimate()
    assert (whole.value, whole.low) == pytest.approx((part.value, part.low))


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    shown, reward = log(2000, 4)
    p = LOGGED[shown]
    new, old = ips(reward, 0.9 * p + 0.1 * NEW[shown], p), ips(reward, p, p)
    paired, apart = new.minus(old), new.estimate()
    assert paired.high - paired.low < apart.high - apart.low
    assert paired.value == pytest.approx(new.estimate().value - old.estimate().value)


def test_clipping_bounds_every_ratio() -> None:
    terms = ips(np.ones(2), np.array([0.9, 0.5]), np.array([1e-6, 0.5]), clip=10.0)
    assert terms.ratios.tolist() == [10.0, 1.0]


def test_no_evidence_is_an_error_and_not_a_number() -> None:
    with pytest.raises(ValueError, match="no vote"):
        ips(np.ones(2), np.ones(2), np.ones(2), weights=np.zeros(2)).estimate()
    with pytest.raises(ValueError, match="never gives"):
        snips(np.ones(2), np.zeros(2), np.ones(2))
