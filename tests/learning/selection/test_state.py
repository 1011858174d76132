"""What is cached between batches is what a fresh computation gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from learning.selection import NearestCache, SelectionState
from learning.selection.state import positions, products
from tests.learning.selection.worlds import clustered, world

X, _ = clustered(np.random.default_rng(0), 80, d=8)


class NearestCacheMachine(RuleBasedStateMachine):
    """Labels come, change hands and go; texts join and leave the pool."""

    @initialize()
    def start(self):
        self.cache, self.pool, self.labeled = NearestCache(), set(range(40)), set()

    @rule(i=st.integers(0, 79))
    def label(self, i):
        self.labeled.add(i)

    @rule(data=st.data())
    def withdraw(self, data):
        if self.labeled:
            self.labeled.remove(data.draw(st.sampled_from(sorted(self.labeled))))

    @rule(i=st.integers(0, 79))
    def join(self, i):
        self.pool.add(i)

    @rule(data=st.data())
    def leave(self, data):
        if len(self.pool) > 1:
            self.pool.remove(data.draw(st.sampled_from(sorted(self.pool))))

    @rule()
    def look(self):
        self.similarities()

    @invariant()
    def it_equals_a_fresh_computation(self):
        if getattr(self, "pool", None) and len(self.labeled) % 2 == 0:
            expected = (X[sorted(self.pool)] @ X[sorted(self.labeled)].T).max(axis=1, initial=-1.0)
            assert np.allclose(self.similarities(), expected, atol=1e-6)

    def similarities(self):
        pool, labeled = np.array(sorted(self.pool)), np.array(sorted(self.labeled), dtype=np.int64)
        labels = np.zeros(len(labeled), dtype=np.int64)
        return SelectionState(X[pool], pool, X[labeled], labels, labeled, cache=self.cache).nearest()


TestNearestCache = NearestCacheMachine.TestCase
TestNearestCache.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)


def test_a_cache_that_is_current_is_not_behind():
    state = world()
    assert state.cache.behind(state) == 20
    state.nearest()
    assert state.cache.behind(state) == 0


def test_nearest_at_equals_nearest_whether_cached_or_not():
    state, at = world(), np.array([3, 100, 7])
    few = state.nearest_at(at)
    assert state.cache.behind(state) == 20  # so few rows are not worth filling the cache
    assert np.allclose(few, state.nearest()[at], atol=1e-6)


def test_positions_are_found_or_minus_one():
    assert positions(np.array([7, 3, 9]), np.array([9, 4, 7, 100])).tolist() == [2, -1, 0, -1]
    assert positions(np.array([], dtype=np.int64), np.array([1])).tolist() == [-1]


def test_a_row_of_products_does_not_depend_on_the_other_rows():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((200, 24)).astype(np.float32), rng.standard_normal((31, 24)).astype(np.float32)
    whole = products(x, y)
    assert np.allclose(whole, x @ y.T, atol=1e-5)
    for at in ([5], [5, 80], list(range(5, 150))):
        assert np.array_equal(products(x[at], y)[0], whole[5])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="as many ids"):
        SelectionState(X, np.arange(3), X[:1], np.zeros(1, np.int64), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="different encoders"):
        SelectionState(X, np.arange(80), X[:1, :4], np.zeros(1, np.int64), np.zeros(1, np.int64))
    with pytest.raises(ValueError, match="do not fit"):
        SelectionState.of(X, probabilities=np.ones((3, 2)))
