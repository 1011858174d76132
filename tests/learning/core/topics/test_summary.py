"""A topic's size, growth, mood and unhappy share."""

from __future__ import annotations

import math

import numpy as np
import pytest

from learning.core.topics.summary import summaries


def table(*, grown: bool):
    """Topic 1: 40 texts before, then 40 or 120; topic 2: 200 and 200."""
    topics = np.repeat([1, 1, 2, 2], [40, 120 if grown else 40, 200, 200])
    recent = np.repeat([False, True, False, True], [40, 120 if grown else 40, 200, 200])
    return topics, recent


def summarised(topics, recent, **given):
    nothing = np.full(len(topics), np.nan)
    columns = {"sentiment": nothing, "negative": nothing, **given}
    return {s.topic: s for s in summaries(topics, np.zeros(len(topics), bool), recent, **columns)}


def test_growth_is_told_from_chance():
    grown, still = summarised(*table(grown=True))[1], summarised(*table(grown=False))[1]
    assert grown.growth == pytest.approx((120 / 320) / (40 / 240), rel=0.05)
    assert grown.z > 4
    assert abs(still.z) < 1


def test_growth_of_a_topic_just_born_is_finite():
    topics, recent = np.array([0] * 50 + [1] * 10), np.array([False] * 40 + [True] * 20)
    assert math.isfinite(summarised(topics, recent)[1].growth)


def test_without_an_earlier_period_nothing_grows():
    assert summarised(np.zeros(5, int), np.ones(5, bool))[0].growth == 1


def test_mood_and_unhappy_share_use_only_what_is_known():
    topics = np.zeros(6, int)
    found = summarised(
        topics,
        np.ones(6, bool),
        sentiment=[-1, 0, np.nan, np.nan, np.nan, np.nan],
        negative=[1, 1, 0, 1, np.nan, np.nan],
    )[0]
    assert found.sentiment == -0.5
    assert found.negative[0] == 0.75
    assert found.negative[1] < 0.75 < found.negative[2]


def test_what_nobody_said_is_unknown():
    found = summarised(np.zeros(3, int), np.ones(3, bool))[0]
    assert math.isnan(found.sentiment)
    assert found.negative[1:] == (0.0, 1.0)


def test_the_largest_topic_comes_first_and_noise_is_counted():
    found = summaries(
        np.array([5, 6, 6]),
        np.array([True, True, False]),
        np.ones(3, bool),
        sentiment=np.zeros(3),
        negative=np.zeros(3),
    )
    assert [(s.topic, s.size, s.noise_share) for s in found] == [(6, 2, 0.5), (5, 1, 1.0)]
