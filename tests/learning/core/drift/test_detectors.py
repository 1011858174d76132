"""Each statistic against an independent definition, and each grows where its kind of drift is planted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from learning.core.drift import detectors
from learning.core.drift.reference import Reference, Window
from tests.learning.core.drift.worlds import World

counts = st.lists(st.integers(0, 50), min_size=2, max_size=8).filter(lambda c: sum(c) > 0)


def test_chi_squared_is_that_of_a_contingency_table():
    w, r = np.array([20, 30, 50, 0]), np.array([300, 200, 400, 0])
    assert detectors.chi_squared(w, r) == pytest.approx(stats.chi2_contingency([w[:3], r[:3]], correction=False)[0])


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_kolmogorov_smirnov_is_that_of_scipy(shift):
    rng = np.random.default_rng(0)
    a, b = rng.normal(shift, 1, 150).round(1), rng.normal(0, 1, 400).round(1)
    assert detectors.ks(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)


@settings(deadline=None)
@given(w=counts, r=counts)
def test_divergences_are_finite_and_nought_only_between_equals(w, r):
    size = min(len(w), len(r))
    a, b = np.array(w[:size]), np.array(r[:size])
    assert 0 <= detectors.kl(a, b) + 1e-12 < np.inf
    assert detectors.symmetric_kl(a, b) == pytest.approx(detectors.symmetric_kl(b, a))
    assert detectors.kl(a, a) == pytest.approx(0)


def test_the_binned_statistics_are_the_exact_ones_to_within_a_bin():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 16)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    window = x[:500] + 0.1 * np.eye(16, dtype=np.float32)[0]
    reference = Reference(x[500:])
    c = reference.compare(Window(window))
    projected = [(part - reference.mean) @ reference.axes for part in (window, reference.x)]
    exact = [stats.ks_2samp(w, r).statistic for w, r in zip(projected[0].T, projected[1].T, strict=True)]
    assert detectors.kolmogorov_smirnov(c) == pytest.approx(exact, abs=1 / 120)
    edges = np.quantile(projected[1][:, 0], np.arange(1, 10) / 10)
    w, r = (np.bincount(np.searchsorted(edges, p[:, 0]), minlength=10) for p in projected)
    assert detectors.psi(c)[0] == pytest.approx(detectors.symmetric_kl(w, r), rel=0.05)


def test_kl_is_the_textbook_entropy():
    a, b = np.array([10, 20, 70]), np.array([300, 300, 400])
    p, q = detectors.smoothed_shares(a), detectors.smoothed_shares(b)
    assert detectors.kl(a, b) == pytest.approx(stats.entropy(p, q))


@settings(deadline=None)
@given(
    score=st.lists(st.floats(-5, 5), min_size=1, max_size=20), ref=st.lists(st.floats(-5, 5), min_size=1, max_size=50)
)
def test_conformal_p_values_count_the_reference_scores_above(score, ref):
    found = detectors.conformal_p(np.array(score), np.array(ref))
    expected = [(1 + sum(r >= s for r in ref)) / (len(ref) + 1) for s in score]
    assert found.tolist() == pytest.approx(expected)


class Shifts:
    """One reference of topics 0-9, and windows that drift from it in a known way."""

    def __init__(self, *, known_answers: bool) -> None:
        self.rng, self.world, self.known_answers = np.random.default_rng(5), World(), known_answers
        self.reference = Reference(
            **self._named(self._texts(900, list(range(10))), "x"), classes=12 if known_answers else 0
        )

    def _texts(self, n: int, among: list[int]) -> tuple[np.ndarray, np.ndarray]:
        topic = self.world.topics(n, self.rng, among)
        return self.world.texts(topic, self.rng), topic

    def _named(self, drawn, name):
        return {name: drawn[0], "predictions": drawn[1] if self.known_answers else None}

    def compare(self, *groups: tuple[int, list[int]]):
        drawn = [self._texts(n, among) for n, among in groups]
        x, topic = (np.concatenate(c) for c in zip(*drawn, strict=True))
        return self.reference.compare(Window(x, topic if self.known_answers else None))


@pytest.fixture(scope="module", params=[True, False], ids=["with answers", "without"])
def shifts(request):
    return Shifts(known_answers=request.param)


KNOWN = list(range(10))


@pytest.mark.parametrize("name", ["novelty", "novel_density", "novelty_share"])
def test_new_topics_raise_the_novelty_statistics(shifts, name):
    statistic = detectors.BY_NAME[name]
    assert statistic(shifts.compare((270, KNOWN), (30, [10, 11]))) > 1.2 * statistic(shifts.compare((300, KNOWN)))


@pytest.mark.parametrize("name", ["cell_shares", "centroid", "mmd", "prediction_kl", "psi", "ks"])
def test_shifted_shares_raise_the_share_statistics(shifts, name):
    statistic = detectors.BY_NAME[name]
    moved, still = shifts.compare((200, KNOWN), (100, [0])), shifts.compare((300, KNOWN))
    assert statistic(moved).max() > 1.3 * statistic(still).max()


def test_scattered_oddities_raise_novelty_but_not_its_density(shifts):
    """Thirty texts that resemble nothing, not even each other, are odd; a topic they are not."""
    odd = np.random.default_rng(1).normal(size=(30, 24)).astype(np.float32)
    odd /= np.linalg.norm(odd, axis=1, keepdims=True)
    x = np.concatenate([shifts._texts(270, KNOWN)[0], odd])
    scattered = shifts.reference.compare(Window(x, np.zeros(300, int) if shifts.known_answers else None))
    together = shifts.compare((270, KNOWN), (30, [10]))
    assert detectors.novelty(scattered) == pytest.approx(detectors.novelty(together), rel=0.2)
    assert detectors.novel_density(scattered) < 0.6 * detectors.novel_density(together)


def test_doubt_of_the_head_counts_as_novelty():
    rng, world = np.random.default_rng(2), World()
    x = world.texts(world.topics(500, rng), rng)
    doubt = rng.random(500).astype(np.float32)
    reference = Reference(x[:400], strangeness=doubt[:400])
    calm = detectors.novelty(reference.compare(Window(x[400:], strangeness=doubt[400:])))
    doubtful = detectors.novelty(reference.compare(Window(x[400:], strangeness=doubt[400:] + 0.5)))
    assert doubtful > calm + 0.3
