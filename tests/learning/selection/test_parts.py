"""Every strategy over a pool in shards, as bytes between them, against the same strategy on one machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.selection import STRATEGIES, SelectionState, get
from learning.selection.herding import Herding
from learning.selection.parts import (
    Chosen,
    Looked,
    Part,
    joined,
    least_certain,
    packed,
    part_of,
    reduce_parts,
    unpacked,
)
from learning.selection.picks import Strategy, best_first
from learning.selection.uncertainty import uncertainties
from tests.learning.selection.worlds import split, world

SEED = 11


def over_shards(
    state: SelectionState, strategy: Strategy, n: int, parts: int, *, whole: bool = False
) -> tuple[Chosen, list[Part]]:
    at = {int(i): k for k, i in enumerate(state.ids)}

    def look(ids: np.ndarray, beliefs: bool) -> Looked:
        rows = [at[int(i)] for i in ids]
        return Looked(state.pool[rows], state.probabilities[rows] if beliefs else None)

    sent = [unpacked(packed(part_of(s, strategy, n, SEED, 40, whole=whole))) for s in split(state, parts)]
    covered = (np.asarray(state.labeled), state.labels, state.labeled_ids)
    return reduce_parts(sent, strategy, n, SEED, covered, look), sent


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_picks_open_items_once_and_says_why(name):
    state = world(3, n=400)
    chosen, _ = over_shards(state, get(name), 20, 4)
    assert len(chosen.ids) == len(set(chosen.ids.tolist())) == len(chosen.reasons) == 20
    assert set(chosen.ids.tolist()) <= set(state.ids[state.open].tolist())
    assert all(reason.in_words([f"c{k}" for k in range(6)]) for reason in chosen.reasons)


@pytest.mark.parametrize("name", ["margin", "entropy", "least_confidence"])
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5))
def test_the_least_certain_of_all_shards_are_those_of_one_machine(name, seed, parts):
    state = world(seed, n=300)
    whole = state.ids[get(name).select(state, 25, np.random.default_rng(0)).indices]
    chosen, _ = over_shards(state, get(name), 25, parts)
    assert (chosen.ids.tolist(), chosen.exact) == (whole.tolist(), 25)


@pytest.mark.parametrize("name", ["msal", "k_center"])
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5))
def test_distance_strategies_pick_what_they_pick_on_one_machine(name, seed, parts):
    state = world(seed, n=400, labeled=seed % 3 * 10)
    whole = state.ids[get(name).select(state, 12, np.random.default_rng(0)).indices]
    chosen, _ = over_shards(state, get(name), 12, parts)
    assert (chosen.ids.tolist(), chosen.exact) == (whole.tolist(), 12)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5), st.sampled_from([8, 20, 60]))
def test_with_room_for_few_vectors_the_first_picks_are_exact_as_far_as_it_is_said(seed, parts, room):
    state = world(seed, n=400)
    whole = state.ids[get("msal").select(state, 12, np.random.default_rng(0)).indices]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("learning.selection.parts.MOST_ACTIVE", room)
        chosen, _ = over_shards(state, get("msal"), 12, parts)
    assert chosen.exact >= 1
    assert chosen.ids[: chosen.exact].tolist() == whole[: chosen.exact].tolist()
    assert len(chosen.ids) == min(12, room)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 5))
def test_the_sample_of_herding_does_not_depend_on_how_the_pool_is_cut(seed, parts):
    state, strategy = world(seed, n=400), Herding(exact_up_to=0, sample=120)
    one, _ = over_shards(state, strategy, 15, 1)
    several, _ = over_shards(state, strategy, 15, parts)
    assert several.ids.tolist() == one.ids.tolist()
    assert [r.similar for r in several.reasons] == [r.similar for r in one.reasons]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5))
def test_herding_that_looks_at_all_is_herding_on_one_machine(seed, parts):
    state = world(seed, n=300)
    state = replace(without_labeled(state), uncertainty=None)
    whole = state.ids[Herding().select(state, 15, np.random.default_rng(0)).indices]
    chosen, _ = over_shards(state, Herding(sample=300), 15, parts, whole=True)
    same = np.append(chosen.ids == whole, False)
    # Sums in another order: where two gains are equal to rounding, either may come first.
    assert int(same.argmin()) >= 10


def without_labeled(state: SelectionState) -> SelectionState:
    """Only what is open lies in the pool, as in a queue."""
    at = state.open
    return replace(state, pool=state.pool[at], ids=state.ids[at], available=None, probabilities=state.probabilities[at])


@pytest.mark.parametrize("name", STRATEGIES)
def test_parts_that_are_joined_say_what_they_say_apart(name):
    state = world(7, n=300)
    sent = [part_of(s, get(name), 12, SEED, 40) for s in split(state, 4)]
    at = {int(i): k for k, i in enumerate(state.ids)}
    covered = (np.asarray(state.labeled), state.labels, state.labeled_ids)

    def look(ids: np.ndarray, beliefs: bool) -> Looked:
        rows = [at[int(i)] for i in ids]
        return Looked(state.pool[rows], state.probabilities[rows] if beliefs else None)

    apart = reduce_parts(sent, get(name), 12, SEED, covered, look)
    together = reduce_parts([joined(sent[:3]), joined(sent[3:])], get(name), 12, SEED, covered, look)
    assert together.ids.tolist() == apart.ids.tolist()
    assert together.exact <= apart.exact
    assert least_certain([joined(sent)], 20).tolist() == least_certain(sent, 20).tolist()


def test_nothing_cannot_be_joined():
    with pytest.raises(ValueError, match="nothing"):
        joined([])


def test_a_random_batch_does_not_depend_on_how_the_pool_is_cut_and_knows_its_chance():
    state = world(5, n=300)
    one, several = (over_shards(state, get("random"), 30, parts)[0] for parts in (1, 4))
    assert one.ids.tolist() == several.ids.tolist()
    assert {r.propensity for r in several.reasons} == {30 / len(state.open)}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 5))
def test_what_follows_the_picks_are_the_least_certain_of_the_whole_pool(seed, parts):
    state = world(seed, n=200)
    _, sent = over_shards(state, get("default"), 5, parts)
    expected = state.ids[best_first(uncertainties(state, "margin"), state.ids, state.open, 40)]
    assert least_certain(sent, 40).tolist() == expected.tolist()


def test_shards_without_an_open_item_give_an_empty_batch():
    state = world(1, n=50)
    nothing = SelectionState(
        state.pool, state.ids, state.labeled, state.labels, state.labeled_ids,
        available=np.zeros(50, bool), probabilities=state.probabilities,
    )  # fmt: skip
    for name in STRATEGIES:
        chosen, sent = over_shards(nothing, get(name), 5, 2)
        assert (len(chosen.ids), chosen.exact, len(least_certain(sent, 10))) == (0, 0, 0)


def test_bytes_that_are_no_part_are_refused():
    with pytest.raises(ValueError):
        unpacked(b"something else")
