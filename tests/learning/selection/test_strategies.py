"""What holds for every strategy, whatever it looks at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from learning.selection import DEFAULT, STRATEGIES, NearestCache, SelectionState, get
from tests.learning.selection.worlds import clustered, world

every = pytest.mark.parametrize("name", sorted(STRATEGIES))


@every
def test_it_picks_different_open_items_with_a_reason_each(name):
    state = world()
    picks = get(name).select(state, 25, np.random.default_rng(0))
    assert (
        len(picks)
        == len(set(picks.indices))
        == len(picks.scores)
        == len(picks.reasons)
        == len(picks.propensities)
        == 25
    )
    assert state.available[picks.indices].all()
    assert all(reason.in_words([f"Category {i}" for i in range(6)]) for reason in picks.reasons)


@every
def test_the_same_seed_gives_the_same_picks(name):
    a, b = (get(name).select(world(), 25, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(a.indices, b.indices)


@every
def test_it_works_without_a_single_label_or_head(name):
    state = world(labeled=0, probabilities=None)
    assert len(get(name).select(state, 10, np.random.default_rng(0))) == 10


@every
def test_it_gives_what_there_is_where_the_pool_is_short(name):
    state = world(n=30, labeled=22)
    assert sorted(get(name).select(state, 25, np.random.default_rng(0)).indices) == sorted(state.open)


@every
def test_a_pool_of_float16_on_disk_is_picked_from(name, tmp_path):
    state = world()
    np.save(tmp_path / "pool.npy", np.asarray(state.pool, dtype=np.float16))
    mapped = replace(state, pool=np.load(tmp_path / "pool.npy", mmap_mode="r"), cache=NearestCache())
    assert len(get(name).select(mapped, 10, np.random.default_rng(0))) == 10


@pytest.mark.parametrize("name", [n for n in sorted(STRATEGIES) if n not in ("badge", "typiclust")])
def test_the_order_of_the_pool_does_not_matter(name):
    """(k-means++ draws by position in the pool sorted by id too, but sums floats in another order.)"""
    state = world(1)
    order = np.random.default_rng(9).permutation(len(state.pool))
    shuffled = SelectionState(
        state.pool[order],
        state.ids[order],
        state.labeled,
        state.labels,
        state.labeled_ids,
        available=state.available[order],
        probabilities=state.probabilities[order],
    )
    a = get(name).select(state, 20, np.random.default_rng(2))
    b = get(name).select(shuffled, 20, np.random.default_rng(2))
    assert state.ids[a.indices].tolist() == shuffled.ids[b.indices].tolist()


@pytest.mark.parametrize("name", ["herding", "badge", "typiclust"])
def test_a_large_pool_is_looked_at_through_a_sample(name):
    state = world(n=400)
    picks = get(name, exact_up_to=100, sample=60).select(state, 20, np.random.default_rng(0))
    assert len(set(picks.indices)) == 20


def test_margin_takes_the_smallest_margins():
    state = world()
    p = np.sort(state.probabilities, axis=1)
    margins = p[:, -1] - p[:, -2]
    picks = get("margin").select(state, 10, np.random.default_rng(0))
    assert sorted(margins[picks.indices]) == pytest.approx(sorted(margins[state.open])[:10])


def test_herding_prefers_what_is_unsure_and_crowded_to_what_is_unsure_alone():
    rng = np.random.default_rng(0)
    x, y = clustered(rng, 200, k=2)
    p = np.where((y == 0)[:, None], [0.99, 0.01], [0.52, 0.48]).astype(np.float32)
    state = SelectionState.of(x, probabilities=p)
    picks = get("herding").select(state, 10, rng)
    assert (y[picks.indices] == 1).all()
    assert picks.reasons[0].in_words(["Refund", "Delivery"]).startswith("split 52/48 between Refund and Delivery")


def test_badge_spreads_over_categories_that_it_confuses():
    rng = np.random.default_rng(0)
    x, y = clustered(rng, 300, k=6)
    p = np.full((300, 6), 0.02, dtype=np.float32)
    p[np.arange(300), y] = 0.9
    picks = get("badge").select(SelectionState.of(x, probabilities=p), 12, rng)
    assert len(set(y[picks.indices])) >= 5


def test_typiclust_starts_with_one_item_of_every_cluster():
    x, y = clustered(np.random.default_rng(0), 300, k=6)
    picks = get("typiclust").select(SelectionState.of(x), 6, np.random.default_rng(0))
    assert len(set(y[picks.indices])) >= 5


def test_the_default_is_asked_for_by_name():
    assert type(get("default")) is type(get(DEFAULT))


def test_unknown_names_and_parameters_are_refused():
    with pytest.raises(ValueError, match="no strategy"):
        get("clairvoyance")
    with pytest.raises(ValueError, match="does not take"):
        get("herding", temperature=3)
    with pytest.raises(ValueError, match="alpha"):
        get("msal", alpha=-1.0)
