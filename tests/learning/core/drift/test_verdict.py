"""The retraining rule and the order of monitors."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.audit import Estimate, audited_share
from learning.core.drift.verdict import Monitor, Policy, expected_cost, monitor_order, retraining


def audit(right: int, n: int) -> Estimate:
    return audited_share([k < right for k in range(n)], [0.1] * n)


def decide(now: Estimate, before: Estimate | None = None, *, critical: int = 0, days: float = 9.0):
    return retraining(now, before, critical_in_a_row=critical, days_since_last=days)


@pytest.mark.parametrize(
    ("now", "before", "critical", "reason"),
    [
        (audit(300, 400), None, 0, "accuracy"),
        (audit(348, 400), None, 0, "healthy"),
        (audit(335, 400), None, 0, "healthy"),  # 83.8 %, but it may be 87 %
        (audit(352, 400), audit(395, 400), 0, "drop"),
        (audit(380, 400), audit(395, 400), 0, "healthy"),
        (audit(90, 150), None, 0, "too few audits"),
        (audit(380, 400), None, 3, "drift"),
        (audit(380, 400), None, 2, "healthy"),
        (audit(0, 0), None, 3, "drift"),
        (audit(0, 0), audit(0, 0), 0, "too few audits"),
    ],
)
def test_the_rule_acts_on_bounds_and_on_drift_that_stays(now, before, critical, reason):
    verdict = decide(now, before, critical=critical)
    assert verdict.reason == reason
    assert verdict.retrain == (reason in {"accuracy", "drop", "drift"})


def test_a_retraining_cools_down_for_a_day():
    verdict = decide(audit(300, 400), days=0.5)
    assert (verdict.retrain, verdict.reason) == (False, "cooling down")
    assert "75.0%" in verdict.sentence


def test_thresholds_are_the_projects_own():
    policy = Policy(least_accuracy=0.7, critical_checks=1)
    assert not retraining(audit(300, 400), None, critical_in_a_row=0, days_since_last=9, policy=policy).retrain
    assert retraining(audit(300, 400), None, critical_in_a_row=1, days_since_last=9, policy=policy).retrain


monitors = st.lists(
    st.builds(
        Monitor, name=st.uuids().map(str), chance=st.floats(0.01, 0.9), value=st.just(1e6), cost=st.floats(0.1, 10)
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(monitors)
def test_no_other_order_finds_the_first_thing_at_a_lower_expected_cost(given_monitors):
    best = min(expected_cost(order) for order in permutations(given_monitors))
    assert expected_cost(monitor_order(given_monitors)) == pytest.approx(best)


def test_what_is_not_worth_its_cost_or_too_dear_is_left_out():
    cheap, dear, idle = Monitor("cheap", 0.5, 10, 1), Monitor("dear", 0.9, 100, 20), Monitor("idle", 0.01, 10, 1)
    assert [m.name for m in monitor_order([idle, dear, cheap])] == ["cheap", "dear"]
    assert [m.name for m in monitor_order([idle, dear, cheap], budget=10)] == ["cheap"]


@pytest.mark.parametrize(("chance", "cost"), [(1.2, 1), (-0.1, 1), (0.5, 0)])
def test_impossible_monitors_are_refused(chance, cost):
    with pytest.raises(ValueError):
        Monitor("m", chance, 1, cost)
