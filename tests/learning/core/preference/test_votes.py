"""The named filters: what they see, and what they take for hostility."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bernoulli

from learning.core.preference.evidence import Votes
from learning.core.preference.votes import likelihood_ratio, log_bernoulli, neighbour_filter, total
from tests.learning.core.preference.worlds import town, true_approval


def test_the_log_likelihood_is_scipys_inside_its_limits() -> None:
    up, p = np.array([1.0, 0.0, 1.0]), np.array([0.3, 0.8, 0.05])
    assert log_bernoulli(up, p) == pytest.approx(bernoulli.logpmf(up.astype(int), p))


def test_one_vote_is_never_proof() -> None:
    assert log_bernoulli(np.array([1.0]), np.array([0.0]))[0] == pytest.approx(np.log(0.01))


def test_totals_are_sums_per_group() -> None:
    assert total(np.array([1, 0, 1]), np.array([1.0, 2.0, 3.0])).tolist() == [2.0, 4.0]


def test_the_neighbour_filter_drops_who_disagrees_with_those_nearby() -> None:
    pool = np.tile([[1.0, 0.0]], (6, 1))
    votes = Votes(np.arange(6), np.zeros(6, dtype=int), np.array([1, 1, 1, 1, 1, 0.0]), np.ones(6), np.arange(6))
    assert neighbour_filter(votes, pool, tau=0.5).tolist() == [1, 1, 1, 1, 1, 0]


def test_the_neighbour_filter_keeps_a_vote_that_has_no_neighbour() -> None:
    votes = Votes(np.array([0]), np.array([3]), np.array([0.0]), np.ones(1), np.array([0]))
    assert neighbour_filter(votes, np.ones((1, 2)), tau=0.5).tolist() == [1]


def test_a_vote_does_not_testify_for_itself() -> None:
    pool = np.eye(2)
    votes = Votes(np.array([0, 1]), np.array([0, 0]), np.array([1.0, 0.0]), np.ones(2), np.arange(2))
    assert neighbour_filter(votes, pool, tau=0.9, k=1).tolist() == [0, 0]


def test_inverted_voters_are_told_from_honest_ones() -> None:
    place = town(honest=800, bots=300)
    votes = place.evidence.votes
    honest = likelihood_ratio(votes, true_approval(place))[votes.voter]
    assert honest[place.hostile].max() < 0.01
    assert (1 - honest[~place.hostile]).mean() < 0.02


def test_without_inverted_voters_nobody_loses_much() -> None:
    place = town(honest=800)
    assert likelihood_ratio(place.evidence.votes, true_approval(place)).mean() > 0.97


def test_a_voter_with_an_uninformative_vote_keeps_the_prior() -> None:
    votes = Votes(np.zeros(1, dtype=int), np.zeros(1, dtype=int), np.ones(1), np.ones(1), np.zeros(1, dtype=int))
    assert likelihood_ratio(votes, np.array([0.5]), prior=0.2)[0] == pytest.approx(0.8)
