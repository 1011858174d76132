"""Types of voters, campaigns by few and by many, and caps on what the newest accounts can move."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.preference.campaigns import (
    CAMPAIGN,
    CARELESS,
    HONEST,
    INVERTED,
    MixtureConfig,
    bursts,
    cap_new_accounts,
    exposure_limit,
    fit_mixture,
    near_copies,
    overexposed,
)
from learning.core.preference.evidence import Votes
from tests.learning.core.preference.worlds import Town, expected_showings, town, true_approval


def simple(reply: np.ndarray, voter: np.ndarray, up: np.ndarray | None = None, time: np.ndarray | None = None) -> Votes:
    n = len(reply)
    return Votes(np.zeros(n, dtype=int), reply, np.ones(n) if up is None else up, np.full(n, 0.5), voter, time=time)


def mixture_of(place: Town) -> tuple[np.ndarray, np.ndarray]:
    votes = place.evidence.votes
    targets = overexposed(votes, expected_showings(place.evidence))
    fitted = fit_mixture(votes, true_approval(place), targets, MixtureConfig())
    return fitted.posterior[votes.voter], fitted.targets


def test_replies_shown_as_the_log_says_are_not_overexposed() -> None:
    place = town(honest=2000)
    assert not overexposed(place.evidence.votes, expected_showings(place.evidence)).any()


def test_a_reply_that_voters_come_upon_too_often_is_overexposed() -> None:
    place = town(bots=400, attack="campaign")
    assert np.flatnonzero(overexposed(place.evidence.votes, expected_showings(place.evidence))).tolist() == [0]


def test_exposure_limits_weigh_a_target_down_to_its_own_showings() -> None:
    votes = simple(np.array([0] * 30 + [1] * 10), np.arange(40))
    limits = exposure_limit(votes, np.array([10.0, 10.0]))
    assert limits[0] == pytest.approx(0.5)
    assert limits[-1] == 1


@pytest.mark.parametrize(("attack", "kind"), [("flip", INVERTED), ("coin", CARELESS), ("campaign", CAMPAIGN)])
def test_each_kind_of_hostile_voter_is_recognised(attack: str, kind: int) -> None:
    place = town(bots=500, attack=attack, per_bot=50)
    posterior, _ = mixture_of(place)
    assert posterior[place.hostile, kind].mean() > 0.95
    assert (1 - posterior[~place.hostile, HONEST]).mean() < 0.02


def test_a_crowd_of_one_vote_accounts_is_recognised_by_what_it_comes_upon() -> None:
    place = town(bots=500, attack="campaign", per_bot=1)
    votes = place.evidence.votes
    posterior, targets = mixture_of(place)
    pushes = place.hostile & (votes.reply == 0)
    assert targets.tolist() == [0]
    assert posterior[pushes, HONEST].mean() < 0.1
    assert (1 - posterior[~place.hostile, HONEST]).mean() < 0.02


def test_without_targets_nobody_is_part_of_a_campaign() -> None:
    place = town(bots=300)
    votes = place.evidence.votes
    fitted = fit_mixture(votes, true_approval(place), np.zeros(12, dtype=bool), MixtureConfig())
    assert fitted.posterior[:, CAMPAIGN].max() < 1e-6


def test_types_can_be_those_of_networks_instead_of_voters() -> None:
    place = town(honest=800, bots=300, per_bot=1)
    votes = place.evidence.votes
    network = np.where(place.hostile, 0, 1 + votes.voter)
    none = np.zeros(12, dtype=bool)
    fitted = fit_mixture(votes, true_approval(place), none, MixtureConfig(), group=network)
    assert fitted.posterior[0, INVERTED] > 0.99


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_posteriors_are_probabilities_for_any_votes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 60
    votes = Votes(
        np.zeros(n, dtype=int), rng.integers(0, 5, n), rng.random(n), rng.uniform(1e-6, 1, n), rng.integers(0, 9, n)
    )
    posterior = fit_mixture(votes, rng.random(n), rng.random(5) < 0.5, MixtureConfig()).posterior
    assert np.isfinite(posterior).all()
    assert posterior.sum(axis=1) == pytest.approx(np.ones(len(posterior)))


def test_new_accounts_that_flood_one_reply_are_capped_and_established_ones_never() -> None:
    established = np.repeat(np.arange(20), 5)
    reply = np.concatenate([np.tile(np.arange(5), 20), np.zeros(200, dtype=int)])
    votes = simple(reply, np.concatenate([established, 100 + np.arange(200)]))
    weights = cap_new_accounts(votes, np.ones(300), slack=2.0, floor=3.0)
    assert (weights[:100] == 1).all()
    assert weights[100:].sum() == pytest.approx(3 + 2 * 0.2 * 200)


def test_new_accounts_that_vote_as_others_do_keep_their_say() -> None:
    reply = np.concatenate([np.tile(np.arange(5), 20), np.tile(np.arange(5), 10)])
    votes = simple(reply, np.concatenate([np.repeat(np.arange(20), 5), 100 + np.arange(50)]))
    assert (cap_new_accounts(votes, np.ones(150)) == 1).all()


def test_with_only_new_accounts_each_cell_keeps_its_floor() -> None:
    weights = cap_new_accounts(simple(np.zeros(30, dtype=int), np.arange(30)), np.ones(30), floor=3.0)
    assert weights.sum() == pytest.approx(3.0)


def test_a_burst_on_one_reply_is_shared_out_and_steady_votes_are_not() -> None:
    steady = np.linspace(0, 1e6, 200)
    sudden = 5e5 + np.arange(300) * 2.0
    votes = simple(np.repeat([0, 1], [200, 300]), np.arange(500), time=np.concatenate([steady, sudden]))
    weights = bursts(votes)
    assert (weights[:200] == 1).all()
    assert weights[200:].sum() < 30


def test_votes_without_a_time_are_no_burst() -> None:
    assert (bursts(simple(np.zeros(50, dtype=int), np.arange(50))) == 1).all()


def test_the_same_words_with_the_same_vote_from_new_accounts_count_a_few_times_only() -> None:
    pool = np.array([[1.0, 0.0], [0.0, 1.0]])
    inquiry = np.array([0] * 12 + [1] * 2 + [0] * 5)
    voter = np.concatenate([np.arange(14), np.full(5, 99)])
    votes = Votes(inquiry, np.zeros(19, dtype=int), np.ones(19), np.ones(19), voter - (voter == 99) * 85)
    weights = near_copies(votes, pool, allowed=3)
    assert weights[:12].sum() == pytest.approx(3.0)
    assert (weights[12:] == 1).all()
