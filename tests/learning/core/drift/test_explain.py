"""Which texts, which shares, which kind: explanations that point at what was planted."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.proportion import proportions_ztest

from learning.core.drift.explain import (
    Signals,
    calibration_drift,
    concept_drift,
    drifted_texts,
    label_drift,
    share_shifts,
    tell_apart,
)
from learning.core.drift.reference import Reference, Window
from tests.learning.core.drift.worlds import World

KNOWN = list(range(10))


@pytest.fixture(scope="module")
def comparison():
    """180 known texts (40 more of topic 2 than usual), then 20 of a new topic, then 5 oddities."""
    rng, world = np.random.default_rng(0), World()
    old = world.topics(800, rng, KNOWN)
    reference = Reference(world.texts(old, rng), predictions=old, classes=12)
    topic = np.concatenate([world.topics(140, rng, KNOWN), np.full(40, 2), np.full(20, 11)])
    odd = rng.normal(size=(5, 24))
    x = np.concatenate([world.texts(topic, rng), odd / np.linalg.norm(odd, axis=1, keepdims=True)]).astype(np.float32)
    return reference.compare(Window(x, np.concatenate([np.where(topic == 11, 4, topic), np.zeros(5, int)])))


def test_the_new_topic_leads_the_examples(comparison):
    examples = drifted_texts(comparison, most=15)
    assert np.mean([180 <= e.index < 200 for e in examples]) > 0.85
    assert examples[0].companions >= 5
    assert all(e.p_value <= 0.05 for e in examples)


def test_oddities_are_examples_too_but_lack_company(comparison):
    examples = drifted_texts(comparison, most=100)
    odd = [e.companions for e in examples if e.index >= 200]
    assert len(odd) >= 4
    assert max(odd) < min(e.companions for e in examples[:10])


def test_the_class_that_grew_is_named_first(comparison):
    first = share_shifts(comparison)[0]
    assert first.cell == 2
    assert first.z > 4
    assert first.window > first.reference


def test_share_shifts_are_the_z_of_two_proportions(comparison):
    first = share_shifts(comparison, most=1)[0]
    n, r = comparison.n, comparison.cell_counts.sum()
    hits = [round(first.window * n), round(first.reference * r)]
    assert first.z == pytest.approx(proportions_ztest(hits, [n, r])[0])


def test_label_drift_is_found_and_equal_labels_are_not_drift():
    rng = np.random.default_rng(1)
    assert label_drift(np.array([60, 20, 20]), np.array([300, 300, 400]), rng=rng) <= 0.01
    assert label_drift(np.array([30, 30, 40]), np.array([300, 300, 400]), rng=rng) > 0.5


def test_label_drift_alarms_at_its_level():
    rng = np.random.default_rng(2)
    shares = [0.5, 0.3, 0.15, 0.05]
    found = [
        label_drift(rng.multinomial(60, shares), rng.multinomial(200, shares), rng=rng, resamples=199) <= 0.05
        for _ in range(400)
    ]
    assert np.mean(found) <= 0.08


def test_concept_drift_is_that_of_mantel_and_haenszel():
    rng = np.random.default_rng(3)
    s_now, s_before = rng.integers(0, 3, 300), rng.integers(0, 3, 500)
    now, before = rng.random(300) < 0.25, rng.random(500) < 0.15
    tables = [
        [
            [now[s_now == s].sum(), (~now[s_now == s]).sum()],
            [before[s_before == s].sum(), (~before[s_before == s]).sum()],
        ]
        for s in range(3)
    ]
    oracle = StratifiedTable([np.array(t) for t in tables]).test_null_odds(correction=False)
    assert concept_drift(now, s_now, before, s_before) == pytest.approx(oracle.pvalue / 2, rel=1e-6)


def test_more_of_a_hard_class_is_no_concept_drift():
    """Errors double, but only because customers ask the hard thing more often."""
    rng = np.random.default_rng(4)

    def audited(n: int, hard: float) -> tuple[np.ndarray, np.ndarray]:
        stratum = (rng.random(n) < hard).astype(int)
        return rng.random(n) < np.where(stratum == 1, 0.4, 0.05), stratum

    now, before = audited(600, 0.6), audited(600, 0.2)
    assert now[0].mean() > 1.6 * before[0].mean()
    assert concept_drift(*now, *before) > 0.05


def test_nothing_in_common_proves_nothing():
    assert concept_drift([1, 1], [0, 0], [0, 0], [1, 1]) == 1


def test_overconfidence_is_calibration_drift():
    rng = np.random.default_rng(5)
    confidence = rng.uniform(0.6, 1, 500)
    assert calibration_drift(rng.random(500) < confidence, confidence) > 0.01
    assert calibration_drift(rng.random(500) < confidence - 0.1, confidence) < 0.01


@pytest.mark.parametrize(
    ("signals", "codes"),
    [
        (Signals(0.5, 0.4, 0.3, 0.2), ["none"]),
        (Signals(input=0.001), ["input", "unlabeled"]),
        (Signals(0.001, 0.3, 0.6, 0.4), ["input", "lead"]),
        (Signals(0.6, 0.001, 0.001, 0.7), ["label", "prediction", "lead"]),
        (Signals(0.001, 0.5, 0.5, 0.001), ["concept", "input"]),
        (Signals(0.001, None, None, 0.3, accuracy_fell=True), ["input"]),
        (Signals(0.02, 0.9, 0.9, 0.9), ["none"]),
        (Signals(), ["none"]),
    ],
)
def test_the_kinds_of_drift_are_told_apart(signals, codes):
    kinds = tell_apart(signals)
    assert [k.code for k in kinds] == codes
    assert all(k.sentence.endswith(".") for k in kinds)
