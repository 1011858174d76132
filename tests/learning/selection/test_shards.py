"""A pool in shards gives the picks of a pool in one piece."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.selection import SelectionState, get
from learning.selection.digest import draw_keys, uniforms
from learning.selection.herding import Herding
from learning.selection.shards import reduce_candidates, reduce_digests, shard_candidates, shard_digest
from tests.learning.selection.worlds import world


def split(state: SelectionState, parts: int) -> list[SelectionState]:
    return [
        SelectionState(
            state.pool[i::parts],
            state.ids[i::parts],
            state.labeled,
            state.labels,
            state.labeled_ids,
            available=None if state.available is None else state.available[i::parts],
            probabilities=state.probabilities[i::parts],
        )
        for i in range(parts)
    ]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5))
def test_msal_in_shards_is_exact_up_to_its_stated_bound(seed, parts):
    state = world(seed, n=400)
    whole = state.ids[get("msal").select(state, 30, np.random.default_rng(0)).indices]
    reduced = reduce_candidates([shard_candidates(s, 6) for s in split(state, parts)], 30)
    assert reduced.exact >= 1
    assert reduced.ids[: reduced.exact].tolist() == whole[: reduced.exact].tolist()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5))
def test_herding_in_shards_is_herding_on_one_machine(seed, parts):
    state, strategy = world(seed, n=400), Herding(exact_up_to=0, sample=120)
    whole = strategy.select(state, 15, np.random.default_rng(3))
    draw = int(np.random.default_rng(3).integers(2**63))
    digests = [shard_digest(s, strategy, draw) for s in split(state, parts)]
    reduced = reduce_digests(digests, strategy, 15, state.labeled)
    same = np.append(reduced.ids == state.ids[whole.indices], False)
    n = int(
        same.argmin()
    )  # products of parts are rounded otherwise: where two gains are equal to that, either may come first
    assert np.allclose(reduced.scores[: n + 1], whole.scores[: n + 1], rtol=1e-4, atol=0)
    assert n >= 10


def test_a_draw_depends_on_seed_and_id_alone():
    ids = np.arange(10_000)
    u = uniforms(ids, 7)
    assert np.array_equal(u[::-1], uniforms(ids[::-1], 7))
    assert not np.array_equal(u, uniforms(ids, 8))
    assert abs(u.mean() - 0.5) < 0.01
    assert abs(u.var() - 1 / 12) < 0.005


def test_unsure_items_are_drawn_more_often():
    weight = np.where(np.arange(5000) % 2, 0.9, 0.1).astype(np.float32)
    drawn = np.argsort(draw_keys(np.arange(5000), weight, 1))[:500]
    assert 0.8 < (drawn % 2).mean() < 0.97
