"""Lazy greedy picks what plain greedy picks."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.selection.digest import digest_of
from learning.selection.greedy import lazy_greedy, plain_greedy
from learning.selection.herding import bandwidth_of, coverage_problem, kernel
from learning.selection.msal import distance_problem, half_distance
from learning.selection.uncertainty import uncertainties
from tests.learning.selection.worlds import unit, world

seeds = st.integers(0, 10_000)


def by_the_formula(state, unsure, alpha, n):
    """U + α·D with every distance computed anew for every pick, in float64."""
    x = np.asarray(state.pool, dtype=np.float64)
    covered, open_, picks = [np.asarray(row, dtype=np.float64) for row in state.labeled], state.available.copy(), []
    for _ in range(n):
        distances = [np.linalg.norm(x - c, axis=1) / 2 for c in covered] or [np.ones(len(x))]
        score = np.where(open_, unsure + alpha * np.min(distances, axis=0), -np.inf)
        best = int(np.lexsort((state.ids, -score))[0])
        picks.append(best)
        open_[best] = False
        covered.append(x[best])
    return picks


@settings(max_examples=25, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.3, 0.5, 2.0]), st.integers(0, 30))
def test_the_distance_greedy_equals_the_formula(seed, alpha, labeled):
    state = world(seed, n=120, labeled=labeled)
    unsure = uncertainties(state, "entropy")
    picks, _, _ = lazy_greedy(distance_problem(state, unsure, alpha), 12, first=4)
    assert list(picks) == by_the_formula(state, unsure, alpha, 12)


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 40))
def test_lazy_and_plain_greedy_agree_for_distances(seed, first):
    state = world(seed)
    unsure = uncertainties(state, "margin")
    lazy = lazy_greedy(distance_problem(state, unsure, 0.5), 30, first=first)
    plain = plain_greedy(distance_problem(state, unsure, 0.5), 30)
    assert np.array_equal(lazy[0], plain[0])
    assert np.array_equal(lazy[1], plain[1])


def coverage_of(state, unsure):
    digest = digest_of(state, unsure, len(state.pool), 0)
    return coverage_problem(digest, bandwidth_of(np.asarray(state.labeled), digest, 30))


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(0, 30), st.integers(1, 40))
def test_lazy_and_plain_greedy_agree_for_coverage(seed, labeled, first):
    state = world(seed, labeled=labeled)
    unsure = uncertainties(state, "margin")
    lazy = lazy_greedy(coverage_of(state, unsure), 30, first=first)
    plain = plain_greedy(coverage_of(state, unsure), 30)
    assert np.array_equal(lazy[0], plain[0])


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_coverage_gains_are_those_of_the_definition(seed):
    state = world(seed, n=150)
    unsure = uncertainties(state, "margin").astype(np.float64)
    digest = digest_of(state, unsure.astype(np.float32), len(state.pool), 0)
    h = bandwidth_of(np.asarray(state.labeled), digest, 10)
    picks, gains, _ = lazy_greedy(coverage_problem(digest, h), 10)
    k = np.exp(-(1.0 - np.asarray(state.pool, np.float64) @ np.asarray(state.pool, np.float64).T) / h)
    covered = k[:, ~state.available].max(axis=1)
    for pick, gain in zip(picks, gains, strict=True):
        every = (unsure[:, None] * np.maximum(k - covered[:, None], 0)).sum(axis=0)
        every[~state.available] = -1
        assert np.isclose(every.max(), gain, rtol=1e-3)
        assert np.isclose(every[pick], gain, rtol=1e-3)
        covered = np.maximum(covered, k[:, pick])
        state.available[pick] = False


def test_copies_are_picked_by_the_smaller_id():
    x = unit(np.repeat(np.random.default_rng(0).standard_normal((5, 8)), 4, axis=0))
    state = world(0, n=20, labeled=0)
    state = type(state).of(x, ids=np.arange(20)[::-1])
    picks, _, _ = lazy_greedy(distance_problem(state, np.ones(20, np.float32), 0.5), 5, first=2)
    assert all(state.ids[i] % 4 == 0 for i in picks)


def test_it_does_not_pick_more_than_there_is():
    state = world(0, n=40, labeled=35)
    picks, scores, _ = lazy_greedy(distance_problem(state, uncertainties(state, "margin"), 0.5), 10)
    assert len(picks) == len(scores) == 5
    assert set(picks) == set(state.open)


def test_scores_only_fall():
    state = world(3)
    for problem in (
        distance_problem(state, uncertainties(state, "margin"), 0.5),
        coverage_of(state, uncertainties(state, "margin")),
    ):
        _, scores, _ = lazy_greedy(problem, 50)
        assert (np.diff(scores) <= 1e-5).all()


def test_half_distance_is_half_the_euclidean_distance():
    rng = np.random.default_rng(0)
    x, y = unit(rng.standard_normal((50, 8))), unit(rng.standard_normal((50, 8)))
    assert np.allclose(half_distance((x * y).sum(axis=1)), np.linalg.norm(x - y, axis=1) / 2, atol=1e-4)


def test_the_kernel_is_one_for_the_item_itself():
    assert np.allclose(kernel(np.array([1.0, 0.9], dtype=np.float32), 0.1), [1.0, np.exp(-1.0)], atol=1e-4)
