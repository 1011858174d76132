"""Topics over time: assignment, the daily run that only adds, the re-fit that keeps ids, and samples of large pools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from learning.core.topics.cluster import Config
from learning.core.topics.identity import share_kept
from learning.core.topics.model import assign, extend, fit, novel_remainder, refit, stratified_sample
from tests.learning.core.drift.worlds import World

SMALL = Config(layouts=2, epochs=60, sizes=3)
KNOWN, NEW = list(range(8)), [8, 9]
WORLD = World(topics=10, seed=4)


def texts(n: int, among: list[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    topic = WORLD.topics(n, rng, among)
    return WORLD.texts(topic, rng), topic


@pytest.fixture(scope="module")
def fitted():
    x, topic = texts(500, KNOWN, 0)
    return fit(x, seed=0, config=SMALL), topic


@pytest.fixture(scope="module")
def arrivals():
    """Sixty texts of known topics, then sixty of two new ones."""
    known, new = texts(60, KNOWN, 1), texts(60, NEW, 2)
    return np.concatenate([known[0], new[0]]), np.concatenate([known[1], new[1]])


@pytest.fixture(scope="module")
def extended(fitted, arrivals):
    return extend(fitted[0], arrivals[0], seed=5, config=SMALL)


def test_new_texts_get_the_topic_of_their_kind(fitted):
    x, topic = texts(200, KNOWN, 3)
    assert adjusted_rand_score(topic, assign(fitted[0], x, config=SMALL).ids) > 0.8


def test_assigning_known_texts_repeats_their_topics(fitted):
    topics, _ = fitted
    assert (assign(topics, topics.x, config=SMALL).ids == topics.ids).mean() > 0.95


def test_novel_texts_have_small_p_values_and_known_ones_spread_evenly(fitted):
    topics, _ = fitted
    known, novel = (assign(topics, texts(200, among, 6)[0], config=SMALL).p_values for among in (KNOWN, NEW))
    assert np.median(novel) < 0.02
    assert 0.3 < np.median(known) < 0.7


def test_the_daily_run_leaves_every_known_text_where_it_was(fitted, extended):
    before, after = fitted[0], extended[0]
    assert after.ids[: len(before)].tolist() == before.ids.tolist()
    assert len(after) == len(before) + 120


def test_the_daily_run_finds_the_new_topics_and_says_so(fitted, arrivals, extended):
    after, events = extended
    born = [e.topic for e in events]
    assert [e.kind for e in events] == ["birth"] * len(born)
    assert all(t >= fitted[0].next_id for t in born)
    for new in NEW:
        mine = np.concatenate([np.zeros(500, bool), arrivals[1] == new])
        best = max(((after.ids == t) & mine).sum() / ((after.ids == t) | mine).sum() for t in born)
        assert best > 0.6


def test_known_kinds_found_no_topic(fitted, arrivals, extended):
    known = extended[0].ids[500:560]
    assert (known < fitted[0].next_id).mean() > 0.95


def test_a_topic_can_grow_over_several_days_until_it_is_born(fitted):
    """Too few on the first day; their memory of being unsettled makes the topic on the second."""
    first, second = texts(22, [8], 7)[0], texts(40, [8], 8)[0]
    day_one, none = extend(fitted[0], first, seed=1, config=SMALL)
    day_two, births = extend(day_one, second, seed=2, config=SMALL)
    assert none == []
    assert len(births) == 1
    assert (day_two.ids[500:] == births[0].topic).mean() > 0.7


def test_nothing_new_founds_nothing(fitted):
    after, events = extend(fitted[0], texts(60, KNOWN, 9)[0], seed=1, config=SMALL)
    assert events == []
    assert after.next_id == fitted[0].next_id


def test_without_unsettled_texts_there_is_no_remainder(fitted):
    assert len(novel_remainder(fitted[0], SMALL)) == 0


def test_a_refit_keeps_ids_and_tells_the_births(fitted, arrivals):
    before = fitted[0]
    after, events = refit(before, arrivals[0], seed=77, config=SMALL)
    previous = np.concatenate([before.ids, np.full(120, -1)])
    assert share_kept(previous, after.ids, after.x) >= 0.9
    assert {e.topic for e in events if e.kind in {"birth", "split"}} == set(after.ids.tolist()) - set(
        before.ids.tolist()
    )
    assert after.settled.all()


def test_a_refit_without_news_is_allowed(fitted):
    after, _ = refit(fitted[0], np.empty((0, 24), np.float32), seed=3, config=SMALL)
    assert len(after) == 500


def test_a_large_pool_is_sampled_and_the_rest_assigned():
    x, topic = texts(900, KNOWN, 10)
    sampled = fit(x, seed=0, config=Config(layouts=2, epochs=60, sizes=3, most=450))
    assert sampled.settled.sum() == 450
    assert adjusted_rand_score(topic, sampled.ids) > 0.75
    again, _ = refit(sampled, texts(30, KNOWN, 11)[0], seed=1, config=Config(layouts=2, epochs=60, sizes=3, most=450))
    assert again.settled.sum() == 450
    assert len(again) == 930


@settings(deadline=None)
@given(
    stratum=st.lists(st.integers(0, 6), min_size=1, max_size=200),
    share=st.floats(0.05, 1.2),
    seed=st.integers(0, 50),
)
def test_a_stratified_sample_is_proportional(stratum, share, seed):
    rows, size = np.array(stratum), max(1, round(share * len(stratum)))
    chosen = stratified_sample(rows, size, np.random.default_rng(seed))
    assert len(set(chosen.tolist())) == len(chosen) == min(size, len(rows))
    for s in np.unique(rows):
        exact = (rows == s).sum() * min(size / len(rows), 1)
        assert abs((rows[chosen] == s).sum() - exact) < 1
