"""Who is who after a re-fit: ids carried over, and births, deaths, splits and merges told as they were planted."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.topics.identity import Event, match, share_kept

CENTRES = np.eye(8, dtype=np.float32)


def around(topics: np.ndarray, seed: int = 0) -> np.ndarray:
    """Unit vectors near the axis of each topic."""
    x = CENTRES[topics] + np.random.default_rng(seed).normal(0, 0.1, (len(topics), 8))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_a_mere_renumbering_changes_nothing():
    old = np.repeat([10, 11, 12], 20)
    new = np.repeat([2, 0, 1], 20)
    found = match(old, new, around(old - 10), next_id=13)
    assert found.ids[new].tolist() == old.tolist()
    assert found.events == ()
    assert found.next_id == 13


def test_new_texts_found_a_topic_and_it_is_born():
    old = np.array([5] * 20 + [6] * 20 + [-1] * 15)
    new = np.array([0] * 20 + [1] * 20 + [2] * 15)
    found = match(old, new, around(np.array([0] * 20 + [1] * 20 + [2] * 15)), next_id=9)
    assert found.ids.tolist() == [5, 6, 9]
    assert found.events == (Event("birth", 9),)
    assert found.next_id == 10


def test_a_split_keeps_the_id_with_the_larger_part_and_names_the_parent():
    old = np.array([1] * 40 + [2] * 20)
    new = np.array([0] * 28 + [1] * 12 + [2] * 20)
    found = match(old, new, around(np.array([0] * 28 + [3] * 12 + [1] * 20)), next_id=3)
    assert found.ids.tolist() == [1, 3, 2]
    assert found.events == (Event("split", 3, (1,)),)


def test_a_merge_keeps_the_larger_id_and_names_the_absorbed():
    old = np.array([1] * 30 + [2] * 12 + [3] * 20)
    new = np.array([0] * 42 + [1] * 20)
    found = match(old, new, around(np.array([0] * 30 + [4] * 12 + [1] * 20)), next_id=4)
    assert found.ids.tolist() == [1, 3]
    assert found.events == (Event("merge", 1, (2,)),)


def test_a_topic_whose_members_scatter_dies():
    old = np.array([1] * 21 + [2] * 30 + [3] * 30 + [4] * 30)
    scattered = np.repeat([0, 1, 2], 7)
    new = np.concatenate([scattered, np.repeat([0, 1, 2], 30)])
    found = match(old, new, around(np.concatenate([np.full(21, 5), np.repeat([1, 2, 3], 30)])), next_id=5)
    assert found.ids.tolist() == [2, 3, 4]
    assert found.events == (Event("death", 1),)


@settings(deadline=None)
@given(
    old=st.lists(st.integers(-1, 6), min_size=30, max_size=60).filter(lambda o: max(o) >= 0),
    seed=st.integers(0, 100),
)
def test_ids_are_unique_and_fresh_ones_are_new(old, seed):
    old = np.array(old)
    _, new = np.unique(np.random.default_rng(seed).integers(0, 5, len(old)), return_inverse=True)
    found = match(old, new, around(np.maximum(old, 0), seed), next_id=7)
    assert len(set(found.ids.tolist())) == new.max() + 1
    assert all(i in old or 7 <= i < found.next_id for i in found.ids.tolist())
    told = {e.topic for e in found.events if e.kind in {"birth", "split"}}
    assert told == {i for i in found.ids.tolist() if i >= 7}


def test_identity_is_kept_where_members_and_centre_are():
    old = np.repeat([0, 1], 20)
    x = around(old)
    assert share_kept(old, old, x) == 1
    some = np.where((old == 1) & (np.arange(40) % 10 == 0), 0, old)
    assert share_kept(old, some, x) == 1
    half = np.where((old == 1) & (np.arange(40) % 2 == 0), 0, old)
    assert share_kept(old, half, x) == 0.5  # the one that took ten strangers in has another centre
    assert share_kept(old, np.zeros(40, int), x) == 0


def test_texts_that_were_not_there_before_do_not_count_against_identity():
    old = np.array([0] * 20 + [-1] * 60)
    assert share_kept(old, np.zeros(80, int), around(np.zeros(80, int))) == 1
