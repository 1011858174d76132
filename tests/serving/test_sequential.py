"""Always-valid tests: exact validity, the promised error rates by simulation, and the rollout verdict."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from serving import sequential
from serving.sequential import Evidence, Metric, Step, Tally, blank, e_value, interval, judge, observe, simulate

ACCURACY = Metric("accuracy", "rate", "lower", margin=0.05, weight=4, baseline=0.8)
ERRORS = Metric("errors", "rate", "higher", margin=0.01, baseline=0.002)
NPS = Metric("nps", "mean", "lower", margin=10)
WATCHED = (
    ACCURACY,
    Metric("disagreement", "rate", "higher", margin=0.05, baseline=0.15),
    Metric("escalations", "rate", "higher", margin=0.03, baseline=0.1),
    ERRORS,
    Metric("slow", "rate", "higher", margin=0.03, baseline=0.05),
    NPS,
)


def after(metric: Metric, looks: list[tuple[Tally, Tally]]) -> Evidence:
    evidence = blank()
    for treatment, control in looks:
        evidence = observe(metric, evidence, treatment, control)
    return evidence


def exact_expectation(metric: Metric, past: Evidence, n_a: int, n_b: int, p_a: float, p_b: float) -> float:
    """E[e-value after one more look] / e-value now, by summing over every outcome of two binomials."""
    total = 0.0
    for x, y in product(range(n_a + 1), range(n_b + 1)):
        weight = stats.binom.pmf(x, n_a, p_a) * stats.binom.pmf(y, n_b, p_b)
        total += weight * float(e_value(metric, observe(metric, past, Tally(n_a, x), Tally(n_b, y))))
    return total / float(e_value(metric, past))


@settings(max_examples=25, deadline=None)
@given(
    rate=st.floats(0.001, 0.999),
    baseline=st.floats(0, 1),
    sizes=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    worse=st.sampled_from(["higher", "lower"]),
    margin=st.floats(0.005, 0.3),
)
def test_the_evidence_of_a_rate_never_grows_in_expectation_when_the_arms_are_equal(
    rate, baseline, sizes, worse, margin
):
    metric = Metric("m", "rate", worse, margin=margin, baseline=baseline)
    past = after(metric, [(Tally(9, 4), Tally(12, 5))])
    assert exact_expectation(metric, past, *sizes, rate, rate) <= 1 + 1e-9


@settings(max_examples=20, deadline=None)
@given(low=st.floats(0.01, 0.98), gap=st.floats(0.001, 0.5))
def test_a_treatment_that_is_better_gives_no_evidence_of_harm(low, gap):
    high = min(low + gap, 0.99)
    metric = Metric("m", "rate", "higher", margin=0.05)
    assert exact_expectation(metric, blank(), 5, 6, low, high) <= 1 + 1e-9


def test_an_accuracy_and_its_error_rate_are_the_same_evidence():
    wrong = Metric("wrong", "rate", "higher", margin=0.05, baseline=0.2)
    right = Metric("right", "rate", "lower", margin=0.05, baseline=0.8)
    seen_wrong = after(wrong, [(Tally(200, 51), Tally(180, 40))])
    seen_right = after(right, [(Tally(200, 149), Tally(180, 140))])
    assert e_value(wrong, seen_wrong) == pytest.approx(float(e_value(right, seen_right)))


def test_the_normal_mixture_is_the_integral_it_stands_for():
    score, information, scale = 3.1, 2.2, 0.7

    def integrand(h: float) -> float:
        return 2 * stats.norm.pdf(h, scale=scale) * math.exp(h * score - h * h * information / 2)

    expected, _ = integrate.quad(integrand, 0, np.inf)
    assert sequential._normal_mixture(np.array(score), np.array(information), scale) == pytest.approx(expected)


def test_all_watched_metrics_together_roll_back_falsely_in_at_most_five_percent_of_months():
    quiet = simulate(WATCHED, per_arm=200, looks=30, runs=1500, rng=np.random.default_rng(3))
    assert quiet.rollback_share <= 0.05


def test_a_drop_of_five_points_is_stopped_by_day_seven_in_half_of_the_runs():
    rng = np.random.default_rng(4)
    drop = simulate(WATCHED, per_arm=200, looks=30, runs=600, rng=rng, harm={"accuracy": 0.05})
    assert drop.median_day <= 7
    assert drop.rollback_share >= 0.99


def test_errors_that_become_common_are_stopped_within_days():
    rng = np.random.default_rng(5)
    assert simulate(WATCHED, per_arm=200, looks=30, runs=300, rng=rng, harm={"errors": 0.03}).median_day <= 3


def test_rare_events_and_skewed_values_do_not_break_the_false_alarm_rate():
    rng, runs = np.random.default_rng(6), 1500
    rare, skewed = (
        Metric("rare", "rate", "higher", margin=0.01, baseline=0.5),
        Metric("ms", "mean", "higher", margin=20),
    )
    seen = {m.name: blank((runs,)) for m in (rare, skewed)}
    alarmed = {m.name: np.zeros(runs, bool) for m in (rare, skewed)}
    for _ in range(30):
        hits = [Tally(200, rng.binomial(200, 0.001, runs)) for _ in range(2)]
        times = [rng.lognormal(4, 1, (runs, 60)) for _ in range(2)]
        seen["rare"] = observe(rare, seen["rare"], *hits)
        seen["ms"] = observe(skewed, seen["ms"], *[Tally(60, t.sum(1), (t**2).sum(1)) for t in times])
        for m in (rare, skewed):
            alarmed[m.name] |= e_value(m, seen[m.name]) >= 20
    assert alarmed["rare"].mean() <= 0.05
    assert alarmed["ms"].mean() <= 0.05


def test_days_that_differ_and_a_growing_treatment_share_do_not_look_like_harm():
    """Pooled over the days the treatment would look 8 points worse (Simpson's paradox): its share grew on bad days."""
    looks = []
    for day in range(10):
        good = 0.9 - 0.04 * day
        n_a, n_b = 20 + 80 * day, 1000 - 80 * day
        looks.append((Tally(n_a, round(n_a * good)), Tally(n_b, round(n_b * good))))
    metric = Metric("accuracy", "rate", "lower", margin=0.05, baseline=0.8)
    evidence = after(metric, looks)
    assert evidence.total[1] / evidence.n[1] - evidence.total[0] / evidence.n[0] > 0.08
    assert e_value(metric, evidence) < 1
    assert abs(interval(metric, evidence)[0]) < 0.005


def test_the_interval_holds_at_every_look_at_once():
    rng, runs = np.random.default_rng(7), 300
    covered = 0
    for _ in range(runs):
        evidence, holds = blank(), True
        for _ in range(15):
            arms = [Tally(200, int(rng.binomial(200, p))) for p in (0.76, 0.8)]
            evidence = observe(ACCURACY, evidence, *arms)
            _, low, high = interval(ACCURACY, evidence)
            holds &= low <= 0.04 <= high
        covered += holds
    assert covered / runs >= 0.95


def test_without_customers_nothing_is_known():
    evidence = after(ACCURACY, [(Tally(0, 0), Tally(50, 40))])
    assert e_value(ACCURACY, evidence) == pytest.approx(1)
    assert math.isnan(interval(ACCURACY, evidence)[0])
    assert interval(ACCURACY, evidence)[2] == math.inf


def test_overwhelming_harm_gives_a_large_but_finite_number():
    evidence = after(ERRORS, [(Tally(10**6, 9 * 10**5), Tally(10**6, 0))])
    assert 1e100 < float(e_value(ERRORS, evidence)) < math.inf


def test_evidence_survives_a_trip_through_json():
    evidence = after(NPS, [(Tally(30, -100.0, 90_000.0), Tally(31, 300.0, 80_000.0))])
    back = Evidence.from_json(json.loads(json.dumps(evidence.as_json())))
    assert back.looks == 1
    assert e_value(NPS, back) == e_value(NPS, evidence)
    again = (Tally(5, 1.0, 2.0), Tally(5, 2.0, 3.0))
    assert e_value(NPS, observe(NPS, back, *again)) == e_value(NPS, observe(NPS, evidence, *again))


def test_runs_side_by_side_equal_runs_one_by_one():
    rng = np.random.default_rng(8)
    hits = rng.binomial(200, 0.75, (4, 3, 2))
    together = blank((3,))
    for look in hits:
        together = observe(ACCURACY, together, Tally(200, look[:, 0]), Tally(200, look[:, 1]))
    for run in range(3):
        alone = after(ACCURACY, [(Tally(200, look[run, 0]), Tally(200, look[run, 1])) for look in hits])
        assert e_value(ACCURACY, together)[run] == pytest.approx(float(e_value(ACCURACY, alone)))


@pytest.mark.parametrize(("hits", "n"), [(11, 10), (-1, 10), (0, -1)])
def test_impossible_counts_are_refused(hits, n):
    with pytest.raises(ValueError, match="errors"):
        observe(ERRORS, blank(), Tally(n, hits), Tally(10, 0))


def test_a_metric_without_a_margin_is_refused():
    with pytest.raises(ValueError, match="margin"):
        Metric("m", "rate", "higher", margin=0)


def verdict(evidence: Evidence, *, seen: int = 500, looks: int = 3) -> sequential.Verdict:
    others = {m.name: blank() for m in WATCHED if m.name != "accuracy"}
    return judge(WATCHED, {**others, "accuracy": evidence}, step=Step(200, 14), seen=seen, looks=looks)


def test_harm_rolls_back_and_names_the_metric():
    found = verdict(after(ACCURACY, [(Tally(900, 600), Tally(900, 740))]))
    assert (found.action, found.reason, found.blame) == ("rollback", "harm", "accuracy")
    assert found.p_value <= 0.05


def test_harm_rolls_back_before_the_minimum_of_evidence():
    assert verdict(after(ACCURACY, [(Tally(150, 60), Tally(150, 125))]), seen=150).action == "rollback"


def test_a_step_advances_once_it_has_seen_enough():
    assert verdict(after(ACCURACY, [(Tally(300, 241), Tally(300, 240))])).action == "advance"


def test_a_step_without_evidence_holds_and_says_so_however_long_it_waits():
    early, late = verdict(blank(), seen=10), verdict(blank(), seen=10, looks=40)
    assert (early.action, early.reason) == ("hold", "too little evidence")
    assert (late.action, late.reason) == ("hold", "waited too long")


def test_the_web_process_can_import_it_without_slow_libraries():
    seen = "import sys, serving.sequential, serving.sample_size; print(sorted({'scipy', 'sklearn', 'numba'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
