"""Marks that tell neighbours apart, trends that count days, halves of a topic."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.core.topics.assignment import halves, nearest_topics, own_distances, placed
from learning.core.topics.drawing import slots, trend

NOW = datetime(2026, 11, 26, 12)


@given(st.integers(1, 30), st.integers(0, 2**16))
def test_the_first_marks_are_all_different_and_all_are_used(n: int, seed: int) -> None:
    places = np.random.default_rng(seed).normal(size=(n, 2)).astype(np.float32)
    found = slots(places, np.zeros((0, 2), np.float32), np.zeros(0, np.int64), slots=8)
    assert len(set(found[:8].tolist())) == min(n, 8)


def test_a_mark_goes_where_its_bearers_are_far() -> None:
    taken = np.array([[0, 0], [9, 9]], np.float32)
    assert slots(np.array([[1, 1]], np.float32), taken, np.array([0, 1]), slots=2).tolist() == [1]


@given(st.lists(st.floats(0, 50), max_size=60))
def test_a_trend_counts_each_text_of_its_days_once(ages: list[float]) -> None:
    found = trend([NOW - timedelta(days=a) for a in ages], NOW)
    assert len(found) == 28
    assert sum(found) == sum(a < 28 for a in ages)


def test_halves_part_two_groups_and_call_the_smaller_one() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal((5, 0, 0), 0.3, (30, 3)), rng.normal((0, 5, 0), 0.3, (12, 3))])
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    assert halves(x, seed=1).tolist() == [False] * 30 + [True] * 12


def test_texts_that_are_all_alike_still_part_and_one_text_does_not() -> None:
    alike = np.tile(np.array([[1, 0]], np.float32), (10, 1))
    assert 0 < halves(alike, seed=0).sum() < 10
    with pytest.raises(ValueError, match="cannot be split"):
        halves(alike[:1], seed=0)


def test_a_text_that_is_known_is_placed_where_it_lies_and_gets_its_topic() -> None:
    known = np.eye(4, dtype=np.float32)
    points = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    assert placed(known, points, known, votes=2) == pytest.approx(points, abs=1e-3)
    found = nearest_topics(known, np.array([3, 5, 7, 9]), known, votes=1, own=own_distances(known))
    assert found.ids.tolist() == [3, 5, 7, 9]
    assert (found.p_values == 1).all()
