"""Renamed, merged and split categories: learners that are told follow; what is stale is not protected."""

from __future__ import annotations

import numpy as np
import pytest

from learning.core.continual.learner import ContinualLearner, Experience
from learning.core.continual.relabeling import TaxonomyChange, relabel
from learning.core.heads.features import FeatureMap
from learning.core.heads.ridge import RidgeStatistics
from tests.learning.core.continual.worlds import D, K, World

CHANGE = TaxonomyChange(K + 1, moved={0: 1, 2: K})  # 0 is merged into 1, 2 gets a place of its own
HALF_POINT = 0.005


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def moved(y: np.ndarray) -> np.ndarray:
    return np.array([CHANGE.moved.get(int(k), int(k)) for k in y])


def accuracy(world: World, scores: np.ndarray) -> float:
    return float((scores.argmax(axis=1) == moved(world.test_y)).mean())


def halves(world: World) -> tuple[Experience, Experience]:
    """Nine tenths of the texts under the old categories, a tenth under the new ones."""
    old = np.arange(len(world.y)) % 10 > 0
    items = np.arange(len(world.y))
    return (
        Experience(items[old], world.x[old], world.y[old]),
        Experience(items[~old], world.x[~old], moved(world.y[~old])),
    )


def network(world: World, *, told: bool, **options: object) -> ContinualLearner:
    learner = world.learner(K + 1, **options)
    first, second = halves(world)
    learner.learn(first)
    if told:
        relabel(learner, CHANGE)
    learner.learn(second)
    return learner


def oracle_network(world: World) -> float:
    learner = world.learner(K + 1)
    learner.learn(Experience(np.arange(len(world.y)), world.x, moved(world.y)))
    return accuracy(world, learner.scores(world.test_x))


def test_statistics_follow_to_within_half_a_point_of_having_always_known(world: World) -> None:
    features, (first, second) = FeatureMap(D, 128), halves(world)
    followed = RidgeStatistics(features.width, [str(k) for k in range(K)])
    followed.add(features(first.x), first.y)
    followed.merge_categories(["0"], "1")
    followed.rename_category("2", str(K))
    place = {int(key): n for n, key in enumerate(followed.categories)}
    followed.add(features(second.x), np.array([place[int(k)] for k in second.y]))
    oracle = RidgeStatistics(features.width, followed.categories)
    oracle.add(features(world.x), np.array([place[int(k)] for k in moved(world.y)]))
    scores = [features(world.test_x) @ s.solve(0.1) for s in (followed, oracle)]
    assert np.abs(scores[0] - scores[1]).max() < 1e-9
    truth = np.array([place[int(k)] for k in moved(world.test_y)])
    followed_right, oracle_right = (float((s.argmax(axis=1) == truth).mean()) for s in scores)
    assert oracle_right - followed_right <= HALF_POINT
    assert oracle_right > 0.9


def test_a_network_that_is_told_comes_within_half_a_point_of_one_that_always_knew(world: World) -> None:
    told = accuracy(world, network(world, told=True, capacity=400, ewc=3.0).scores(world.test_x))
    assert oracle_network(world) - told <= HALF_POINT


@pytest.mark.parametrize("options", [{"ewc": 100.0}, {"capacity": 200, "der": 0.3}, {"lwf": 10.0}])
def test_stale_labels_are_protected_only_where_nobody_told(world: World, options: dict[str, float]) -> None:
    told, stale = (accuracy(world, network(world, told=t, **options).scores(world.test_x)) for t in (True, False))
    assert told > stale + 0.02


def test_what_a_network_keeps_moves_with_the_categories(world: World) -> None:
    learner = world.learner(capacity=60, der=0.1, ewc=1.0, lwf=1.0)
    learner.learn(world.experience(*range(K)))
    relabel(learner, CHANGE)
    assert learner.buffer is not None
    assert set(learner.buffer.y.tolist()) == {1, 3, 4, 5, K}
    assert learner._scores == {}
    assert learner.lwf is not None
    assert learner.lwf.known == [3, 4, 5]
    scores = learner.scores(world.test_x)
    assert scores.shape[1] == K + 1
    assert not np.isin(scores.argmax(axis=1), [0, 2]).any(), "nothing is answered with a category that is gone"
    assert accuracy(world, scores) > 0.8, "before it learns anything new"


def test_a_split_category_goes_where_its_items_say() -> None:
    change = TaxonomyChange(3, moved={0: 1}, split={7: 2})
    assert [change(5, 0), change(7, 1), change(8, 1)] == [1, 2, 1]
    assert change.changed == {0, 1, 2}
