"""Ratings, engagement and asking again, as votes."""

from __future__ import annotations

import numpy as np
import pytest

from learning.core.preference.signals import asked_again, from_engagement, from_ratings

DAY = 86_400.0


def test_a_rating_scale_is_stretched_to_votes() -> None:
    assert from_ratings(np.array([1.0, 3.0, 5.0]), lowest=1, highest=5).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(("lowest", "highest"), [(1, 1), (2, 5)])
def test_impossible_ratings_and_scales_are_refused(lowest: float, highest: float) -> None:
    with pytest.raises(ValueError):
        from_ratings(np.array([1.0]), lowest=lowest, highest=highest)


def test_engagement_counts_against_its_own_cells_median() -> None:
    score = np.concatenate([np.full(20, 0.1), [0.9], np.full(20, 0.8), [0.1]])
    up, counts = from_engagement(score, np.repeat([0, 1], 21))
    assert counts.nonzero()[0].tolist() == [20, 41]
    assert up[[20, 41]].tolist() == [1, 0]


def test_a_cell_without_a_baseline_says_nothing() -> None:
    _, counts = from_engagement(np.array([0.0, 1.0, 1.0]), np.zeros(3, dtype=int))
    assert not counts.any()


def test_asking_the_same_again_is_a_vote_against_the_first_reply() -> None:
    x = np.array([[1.0, 0.0], [0.9, 0.436], [0.0, 1.0]])
    assert asked_again(np.array([7, 7, 7]), np.array([0.0, 60.0, 120.0]), x).tolist() == [True, False, False]


@pytest.mark.parametrize(("customer", "time"), [([1, 2], [0.0, 60.0]), ([1, 1], [0.0, 2 * DAY])])
def test_another_customer_or_another_day_is_not_asking_again(customer: list[int], time: list[float]) -> None:
    assert not asked_again(np.array(customer), np.array(time), np.array([[1.0, 0.0]] * 2)).any()


def test_the_order_of_the_rows_does_not_matter() -> None:
    x = np.array([[1.0, 0.0]] * 2)
    assert asked_again(np.array([3, 3]), np.array([50.0, 10.0]), x).tolist() == [False, True]
