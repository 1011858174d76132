"""Replay buffers: what they keep, and how an erased or relabeled item leaves or changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.core.continual.buffers import POLICIES, Buffer, Herding, Reservoir, herded


def filled(policy: str, capacity: int, labels: list[int], seed: int = 0, batch: int = 7) -> Buffer:
    buffer, rng = POLICIES[policy](capacity), np.random.default_rng(seed)
    x = np.random.default_rng(1).normal(size=(len(labels), 4))
    for at in range(0, len(labels), batch):
        items = np.arange(at, min(at + batch, len(labels)))
        buffer.offer(items, np.array(labels)[items], x[items], rng)
    return buffer


@pytest.mark.parametrize("policy", list(POLICIES))
@given(labels=st.lists(st.integers(0, 4), max_size=60), capacity=st.integers(1, 20))
def test_it_holds_offered_items_with_their_labels_up_to_its_capacity(
    policy: str, labels: list[int], capacity: int
) -> None:
    buffer = filled(policy, capacity, labels)
    assert len(buffer.labels) == min(capacity, len(labels))
    assert all(labels[item] == label for item, label in buffer.labels.items())


@pytest.mark.parametrize("policy", ["balanced", "herding"])
def test_shares_are_equal_when_every_label_has_enough(policy: str) -> None:
    buffer = filled(policy, 12, [0, 1, 2] * 20)
    assert np.bincount(buffer.y).tolist() == [4, 4, 4]


def test_a_reservoir_is_a_uniform_sample() -> None:
    kept = np.zeros(40)
    for seed in range(400):
        kept[filled("reservoir", 10, [0] * 40, seed).items] += 1
    assert kept.sum() == 4000
    assert np.abs(kept / 400 - 0.25).max() < 0.11  # five standard errors


def test_herding_keeps_the_items_whose_mean_is_closest() -> None:
    x = np.random.default_rng(0).normal(size=(60, 8))
    chosen = herded(x, 6)
    near = np.linalg.norm(x[chosen].mean(axis=0) - x.mean(axis=0))
    chance = [
        np.linalg.norm(x[np.random.default_rng(s).permutation(60)[:6]].mean(axis=0) - x.mean(axis=0)) for s in range(50)
    ]
    assert near < min(chance)
    assert len(set(chosen)) == 6


def test_importance_counts_all_that_were_offered() -> None:
    for policy in POLICIES:
        buffer = filled(policy, 12, [0] * 30 + [1] * 6)
        assert buffer.importance.sum() == pytest.approx(36, rel=0.01)


def test_an_erased_item_is_gone_and_does_not_come_back() -> None:
    buffer = filled("herding", 8, [0, 1] * 10)
    gone = buffer.items[:3].tolist()
    assert buffer.remove([*gone, 999]) == 3
    buffer.offer(np.array([100]), np.array([0]), np.ones((1, 4)), np.random.default_rng(0))
    assert not set(gone) & set(buffer.labels)


def test_relabeling_moves_items_and_what_they_stand_for() -> None:
    buffer = filled("herding", 12, [0, 1, 2] * 10)
    before = buffer.importance.sum()
    buffer.relabel({0: 5, 1: 2})
    assert sorted(set(buffer.y.tolist())) == [2, 5]
    assert buffer.importance.sum() == pytest.approx(before)
    buffer.relabel(lambda item, label: None if label == 5 else label)
    assert set(buffer.y.tolist()) == {2}


def test_the_same_seed_keeps_the_same_items() -> None:
    for policy in (Reservoir, Herding):
        kept = []
        for _ in range(2):
            buffer, rng = policy(5), np.random.default_rng(3)
            buffer.offer(np.arange(30), np.arange(30) % 3, np.random.default_rng(0).normal(size=(30, 4)), rng)
            kept.append(buffer.items.tolist())
        assert kept[0] == kept[1]
