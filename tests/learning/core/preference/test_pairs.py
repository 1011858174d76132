"""Comparisons from votes, from annotators and from agents."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.preference.evidence import Votes
from learning.core.preference.pairs import (
    PairConfig,
    examination,
    pairs_from_comparisons,
    pairs_from_replacements,
    pairs_from_votes,
)

POOL = np.array([[1.0, 0.0], [0.99, 0.141], [0.0, 1.0]])  # 0 and 1 mean the same, 2 does not


def votes(rows: list[tuple[int, int, float, float]]) -> Votes:
    inquiry, reply, up, propensity = (np.array(column) for column in zip(*rows, strict=True))
    return Votes(inquiry, reply, up.astype(float), propensity.astype(float), np.arange(len(rows)))


def test_praise_and_blame_of_other_replies_on_the_same_meaning_make_a_pair() -> None:
    pairs = pairs_from_votes(votes([(0, 5, 1, 0.5), (1, 6, 0, 0.5)]), np.ones(2), POOL)
    assert (pairs.inquiry.tolist(), pairs.chosen.tolist(), pairs.rejected.tolist()) == ([0], [5], [6])
    assert pairs.weight == pytest.approx([1.0])


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 5, 1, 0.5), (2, 6, 0, 0.5)],  # another meaning
        [(0, 5, 1, 0.5), (1, 5, 0, 0.5)],  # the same reply: no choice between two
        [(0, 5, 1, 0.5), (1, 6, 1, 0.5)],  # both praised
        [(0, 5, 0, 0.5)],
    ],
)
def test_votes_that_compare_nothing_make_no_pair(rows: list[tuple[int, int, float, float]]) -> None:
    assert len(pairs_from_votes(votes(rows), np.ones(len(rows)), POOL)) == 0


def test_a_vote_without_weight_is_in_no_pair() -> None:
    given_votes = votes([(0, 5, 1, 0.5), (1, 6, 0, 0.5), (1, 7, 0, 0.5)])
    assert pairs_from_votes(given_votes, np.array([1.0, 0.0, 1.0]), POOL).rejected.tolist() == [7]


def test_rarely_shown_replies_weigh_more_and_never_more_than_the_clip() -> None:
    rows = [(0, 5, 1, 0.5), *((1, 6 + i, 0, 0.5) for i in range(9)), (1, 20, 0, 1e-6)]
    for clip in (1.0, 3.0):
        weight = pairs_from_votes(votes(rows), np.ones(11), POOL, PairConfig(per_vote=10, clip=clip)).weight
        assert weight.max() / np.median(weight) == pytest.approx(clip)
        assert weight.mean() == pytest.approx(1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_one_praised_vote_makes_at_most_so_many_pairs(seed: int, per_vote: int) -> None:
    rng = np.random.default_rng(seed)
    n = 40
    given_votes = Votes(
        rng.integers(0, 3, n),
        rng.integers(0, 4, n),
        (rng.random(n) < 0.5).astype(float),
        rng.uniform(0.1, 1, n),
        np.arange(n),
    )
    pairs = pairs_from_votes(given_votes, np.ones(n), POOL, PairConfig(per_vote=per_vote))
    assert len(pairs) <= per_vote * int((given_votes.up >= 0.5).sum())
    assert (pairs.chosen != pairs.rejected).all()
    assert (pairs.weight > 0).all()


def test_a_tie_counts_half_each_way_and_neither_says_nothing() -> None:
    numbers = np.arange(4)
    pairs = pairs_from_comparisons(numbers, numbers + 10, numbers + 20, ["a", "b", "tie", "neither"])
    assert pairs.inquiry.tolist() == [0, 1, 2, 2]
    assert pairs.chosen.tolist() == [10, 21, 12, 22]
    assert pairs.rejected.tolist() == [20, 11, 22, 12]
    assert pairs.weight.tolist() == [1, 1, 0.5, 0.5]


def test_a_verdict_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="'both'"):
        pairs_from_comparisons(np.array([0]), np.array([1]), np.array([2]), ["both"])


def test_only_replaced_replies_are_comparisons() -> None:
    pairs = pairs_from_replacements(np.array([7, 8]), suggested=np.array([1, 2]), sent=np.array([1, 3]))
    assert (pairs.inquiry.tolist(), pairs.chosen.tolist(), pairs.rejected.tolist()) == ([8], [3], [2])


def test_sets_of_pairs_add_up() -> None:
    one = pairs_from_replacements(np.array([0]), np.array([1]), np.array([2]))
    assert len(one + one) == 2


def test_examination_is_the_click_rate_relative_to_the_first_position() -> None:
    assert examination(np.array([999, 999, 999]), np.array([399, 199, 99])) == pytest.approx([1, 0.5, 0.25])
