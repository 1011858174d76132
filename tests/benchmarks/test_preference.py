"""The world of the preference benchmark is the one that docs/benchmarks.md describes, and its figures mean what they say."""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np
import pytest

from benchmarks.preference import FULL_METHOD, ORACLE, Table, _ratio, _runs, _trl
from benchmarks.preference_world import ATTACKS, World, class_means, judge, thumbs, utilities
from learning.core.preference.evidence import Replies
from learning.core.preference.policy import ReplyPolicy


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def world() -> World:
    rng = np.random.default_rng(0)
    labels, held_out = rng.integers(0, 8, 400), rng.integers(0, 8, 150)
    centres = unit(rng.standard_normal((8, 16)))
    pool, other = (unit(centres[y] + 0.2 * rng.standard_normal((len(y), 16))) for y in (labels, held_out))
    vectors = unit(np.repeat(centres, 2, axis=0) + 0.2 * rng.standard_normal((16, 16)))
    utility = utilities(class_means(pool, labels, 8))
    replies = Replies(vectors, np.repeat(np.arange(8), 2))
    return World(pool, other, replies, utility[labels], utility[held_out])


def test_utilities_are_one_for_a_full_and_seven_tenths_for_a_curt_reply_of_the_own_category() -> None:
    means = unit(np.array([[1.0, 0.0], [0.8, 0.6]]))
    assert utilities(means) == pytest.approx(np.array([[1, 0.7, 0.175, 0.175], [0.175, 0.175, 1, 0.7]]))


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_hostile_share_of_votes_is_the_rate(world: World, attack: str) -> None:
    drawn = thumbs(world, attack, 0.3, seed=0, count=2000)
    assert drawn.hostile.mean() == pytest.approx(0.3)
    assert len(drawn.votes) == 2000


@pytest.mark.parametrize(("attack", "low", "high"), [("flip", 40, 40), ("campaign", 40, 40), ("crowd", 1, 2)])
def test_hostile_accounts_have_the_votes_they_should(world: World, attack: str, low: int, high: int) -> None:
    drawn = thumbs(world, attack, 0.2, seed=0, count=2000)
    sizes = np.bincount(drawn.votes.voter)[np.unique(drawn.votes.voter[drawn.hostile])]
    assert sizes.min() >= low
    assert sizes.max() <= high
    honest = np.bincount(drawn.votes.voter)[np.unique(drawn.votes.voter[~drawn.hostile])]
    assert honest.mean() == pytest.approx(8, abs=0.5)


def test_no_account_is_both_honest_and_hostile_and_numbers_do_not_tell(world: World) -> None:
    drawn = thumbs(world, "flip", 0.3, seed=1, count=2000)
    hostile, honest = (set(drawn.votes.voter[rows].tolist()) for rows in (drawn.hostile, ~drawn.hostile))
    assert not hostile & honest
    assert abs(np.mean(list(hostile)) - np.mean(list(honest))) < 60


def test_the_logged_propensity_is_the_references(world: World) -> None:
    votes = thumbs(world, "campaign", 0.3, seed=0, count=500).votes
    shown = world.reference.probabilities(world.pool[votes.inquiry])
    assert votes.propensity == pytest.approx(shown[np.arange(500), votes.reply])


def test_campaigns_push_three_targets_on_half_of_their_inquiries(world: World) -> None:
    drawn = thumbs(world, "campaign", 0.3, seed=0, count=4000)
    praised = np.unique(drawn.votes.reply[drawn.hostile & (drawn.votes.up == 1)])
    assert len(praised) == 3
    assert np.isin(drawn.votes.reply[drawn.hostile], praised).mean() > 0.45
    assert drawn.votes.up[drawn.hostile & ~np.isin(drawn.votes.reply, praised)].max() == 0


def test_flips_invert_what_honest_people_would_say(world: World) -> None:
    drawn = thumbs(world, "flip", 0.5, seed=0, count=6000)
    best = world.pool_utility[drawn.votes.inquiry, drawn.votes.reply] == 1
    assert drawn.votes.up[best & ~drawn.hostile].mean() == pytest.approx(0.9, abs=0.04)
    assert drawn.votes.up[best & drawn.hostile].mean() == pytest.approx(0.1, abs=0.04)


def test_the_same_seed_gives_the_same_votes_and_another_one_others(world: World) -> None:
    first, again, other = (thumbs(world, "crowd", 0.1, seed=s, count=300) for s in (0, 0, 1))
    assert np.array_equal(first.votes.reply, again.votes.reply)
    assert not np.array_equal(first.votes.reply, other.votes.reply)


def test_a_policy_that_knew_the_truth_would_have_no_regret(world: World) -> None:
    class Truth(ReplyPolicy):
        def scores(self, x: object) -> np.ndarray:
            return world.held_out_utility * 50

    judged = judge(world, Truth(np.zeros((16, 16)), np.zeros(16)))
    assert judged["regret"] == 0
    assert judged["preference_accuracy"] == judged["preference_accuracy_strict"] == 1
    assert judge(world, world.reference)["regret"] > 0


def test_a_rate_of_zero_is_run_once_and_counts_for_every_attack() -> None:
    args = argparse.Namespace(seeds=2, rates=[0.0, 0.3])
    assert list(_runs(args))[:4] == [(0, "flip", 0.0), (0, "flip", 0.3), (0, "campaign", 0.3), (0, "crowd", 0.3)]
    table = Table(defaultdict(list))
    table.add(FULL_METHOD, "flip", 0.0, {"regret": 0.2})
    assert set(table.figures(FULL_METHOD)) == set(ATTACKS)


def test_the_ratio_to_the_oracle_is_of_means_over_seeds_at_the_highest_rate() -> None:
    table = Table(defaultdict(list))
    for regret, oracle in ((0.2, 0.1), (0.4, 0.2)):
        table.add(FULL_METHOD, "crowd", 0.3, {"regret": regret})
        table.add(ORACLE, "crowd", 0.3, {"regret": oracle})
    assert _ratio(table, "crowd", ORACLE, argparse.Namespace(rates=[0.1, 0.3])) == pytest.approx(2.0)
    assert table.figures(ORACLE)["crowd"]["0.3"]["seeds"] == 2


def test_without_trl_the_row_says_so_and_gives_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.preference_trl.find_spec", lambda _: None)
    assert _trl()["dpo_vs_trl"] is None
    assert "not installed" in _trl()["trl"]
