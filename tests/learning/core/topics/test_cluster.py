"""Consensus topics on small planted worlds: found, reproducible, and steadier than one run."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from learning.core.topics import cluster as clustering
from learning.core.topics.cluster import UNASSIGNED, Config, cluster, consensus, reassign, smallest_sizes
from tests.learning.core.drift.worlds import World

SMALL = Config(layouts=2, epochs=60, sizes=3)


@pytest.fixture(scope="module")
def planted():
    rng, world = np.random.default_rng(0), World(topics=8)
    topic = world.topics(500, rng)
    return world.texts(topic, rng), topic


@pytest.fixture(scope="module")
def found(planted):
    return cluster(planted[0], SMALL, seed=1)


def test_planted_topics_are_found(planted, found):
    assert adjusted_rand_score(planted[1], found.labels) > 0.85


def test_ids_run_from_nought_with_the_largest_topic_first(found):
    sizes = np.bincount(found.labels)
    assert (sizes > 0).all()
    assert (np.diff(sizes) <= 0).all()


def test_the_same_seed_gives_the_same_topics(planted, found):
    again = cluster(planted[0], SMALL, seed=1)
    assert again.labels.tolist() == found.labels.tolist()
    assert again.stability == found.stability


def test_stability_is_told_for_every_size_tried(found):
    assert list(found.stability) == smallest_sizes(500, SMALL)
    assert all(0 < s <= 1 for s in found.stability.values())


def test_scattered_texts_are_marked_as_noise_and_still_have_a_topic(planted):
    rng = np.random.default_rng(2)
    odd = rng.normal(size=(25, 24))
    x = np.concatenate([planted[0], odd / np.linalg.norm(odd, axis=1, keepdims=True)]).astype(np.float32)
    got = cluster(x, SMALL, seed=1)
    assert (got.labels >= 0).all()
    assert got.noise[500:].mean() > got.noise[:500].mean()


def test_what_the_topics_were_before_has_a_vote(planted):
    """Two planted topics were one: a strong memory keeps them together, none lets them part."""
    x, topic = planted
    joined = np.where(topic == 1, 0, topic)
    keeps = cluster(x, Config(layouts=2, epochs=60, sizes=3, memory=3.0), seed=1, previous=joined)
    parts = cluster(x, Config(layouts=2, epochs=60, sizes=3, memory=0.1), seed=1, previous=joined)
    assert adjusted_rand_score(joined, keeps.labels) > 0.95
    assert adjusted_rand_score(topic, parts.labels) > adjusted_rand_score(joined, parts.labels)


@pytest.mark.parametrize("n", [1, 5, 29])
def test_a_handful_of_texts_is_one_topic_of_noise(n):
    got = cluster(np.eye(n, 32, dtype=np.float32), SMALL, seed=0)
    assert got.labels.tolist() == [0] * n
    assert got.noise.all()


def test_smallest_sizes_grow_with_the_root_of_the_texts():
    assert smallest_sizes(10_000, Config()) == [20, 26, 34, 45, 58, 76, 100]


def test_few_texts_are_not_broken_up_into_topics_of_a_handful():
    """The root of 150 would ask for topics of 2 to 12."""
    sizes = smallest_sizes(150, Config())
    assert (sizes[0], sizes[-1]) == (8, 24)
    assert smallest_sizes(40, Config())[0] == 5


def test_consensus_keeps_what_most_runs_agree_on():
    """Two runs see {0-4} and {5-9}; a third mixes them up."""
    halves = np.repeat([0, 1], 5)
    mixed = np.array([0, 1] * 5)
    groups = consensus(np.array([halves, 1 - halves, mixed]), np.ones(3))
    assert adjusted_rand_score(halves, groups) == 1


def test_consensus_follows_the_weights():
    a, b = np.repeat([0, 1], 6), np.array([0, 0, 0, 1, 1, 1] * 2)
    assert adjusted_rand_score(a, consensus(np.array([a, b]), np.array([3.0, 1.0]))) == 1
    assert adjusted_rand_score(b, consensus(np.array([a, b]), np.array([1.0, 3.0]))) == 1


def test_consensus_with_more_atoms_than_it_can_hold_puts_the_rare_ones_with_their_like():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 100)
    runs = np.array([np.where(rng.random(300) < 0.15, rng.integers(0, 3, 300), truth) for _ in range(9)])
    assert adjusted_rand_score(truth, consensus(runs, np.ones(9), most=20)) > 0.9


def test_reassigning_gives_every_lost_point_its_neighbours_label():
    points = np.array([[0.0], [0.1], [5.0], [5.1], [0.05], [5.05]])
    labels = np.array([3, 3, 7, 7, UNASSIGNED, UNASSIGNED])
    assert reassign(points, labels, 2).tolist() == [3, 3, 7, 7, 3, 7]
    assert reassign(points, np.full(6, UNASSIGNED), 2).tolist() == [0] * 6


def test_warming_up_compiles_without_touching_global_randomness():
    before = np.random.get_state()[1].copy()
    clustering.warm_up(SMALL)
    assert (np.random.get_state()[1] == before).all()
