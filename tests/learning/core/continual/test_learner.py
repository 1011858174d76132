"""What keeps a network from forgetting, and what does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from learning.core.continual.closed_form import ClassMeans, KernelLda, StreamingLda
from learning.core.continual.gdumb import GDumb
from learning.core.continual.learner import Experience
from learning.core.continual.penalties import Ewc, Lwf
from learning.core.heads.features import FeatureMap
from tests.learning.core.continual.worlds import D, K, World

TASKS = ((0, 1), (2, 3), (4, 5))


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def test_a_naive_network_forgets_and_each_remedy_keeps_more(world: World) -> None:
    first = {name: world.accuracy(world.taught(**options), 0, 1) for name, options in {
        "naive": {}, "ewc": {"ewc": 30.0}, "online": {"ewc": 30.0, "ewc_gamma": 1.0}, "lwf": {"lwf": 3.0},
        "replay": {"capacity": 60}, "both": {"capacity": 60, "ewc": 3.0}, "der": {"capacity": 60, "der": 0.1},
    }.items()}  # fmt: skip
    assert first["naive"] < 0.4
    assert all(value > first["naive"] + 0.2 for name, value in first.items() if name != "naive"), first
    assert min(first["replay"], first["both"], first["der"]) > 0.8


@pytest.mark.parametrize("network", ["mlp", "prototype"])
def test_replay_helps_every_network(world: World, network: str) -> None:
    replayed, naive = (world.accuracy(world.taught(network=network, rate=0.01, capacity=n)) for n in (90, 0))
    assert replayed > max(naive + 0.2, 0.8)


def test_the_same_seed_gives_the_same_network(world: World) -> None:
    first, again = (world.taught(capacity=30, ewc=1.0, der=0.1).scores(world.test_x[:5]) for _ in range(2))
    assert (first == again).all()


def test_feedback_counts_by_its_weight(world: World) -> None:
    base = world.experience(0, 1)
    x, wrong = world.test_x[:1], np.array([1 - world.test_y[:1][0] if world.test_y[0] < 2 else 0])
    scores = {}
    for weight in (0.0, 1.0, 7.0):
        learner = world.learner(feedback=40.0)
        learner.learn(Experience(base.items, base.x, base.y, feedback=(x, wrong, np.array([weight]))))
        scores[weight] = learner.scores(x)[0, wrong[0]]
    assert scores[0.0] < scores[1.0]
    assert scores[7.0] == scores[1.0], "w = min(max(f, 0), 1)"


def test_an_erased_item_is_not_replayed(world: World) -> None:
    learner = world.learner(capacity=20, der=0.1)
    learner.learn(world.experience(0, 1))
    assert learner.buffer is not None
    gone = learner.buffer.items[:4].tolist()
    assert learner.forget(gone) == 4
    fetched: list[int] = []
    learner.fetch = lambda items: (fetched.extend(items.tolist()), world.x[items])[1]
    learner.learn(world.experience(2, 3))
    assert fetched
    assert not set(gone) & set(fetched)


def test_the_penalty_is_the_weighted_distance_to_what_was(world: World) -> None:
    net = world.learner().net
    ewc = Ewc(2.0)
    assert float(ewc.penalty(net)) == 0.0
    x, y = torch.ones(3, D), torch.tensor([0, 1, 2])
    ewc.remember(net, x, y, torch.ones(3))
    fisher = ewc.anchors[0][0]["out.bias"].clone()
    with torch.no_grad():
        net.out.bias += 0.5  # type: ignore[union-attr, operator]
    assert float(ewc.penalty(net)) == pytest.approx(2.0 / 2 * 0.25 * float(fisher.sum()), rel=1e-5)


def test_released_categories_are_not_protected(world: World) -> None:
    learner = world.learner(ewc=5.0, lwf=1.0)
    learner.learn(world.experience(0, 1, 2))
    assert isinstance(learner.ewc, Ewc)
    assert isinstance(learner.lwf, Lwf)
    learner.ewc.release(learner.net, [1])
    learner.lwf.release(learner.net, [1])
    fisher = learner.ewc.anchors[0][0]
    assert float(fisher["out.weight"][1].abs().sum() + fisher["out.bias"][1].abs()) == 0.0
    assert float(fisher["out.weight"][0].sum()) > 0
    assert learner.lwf.known == [0, 2]


@pytest.mark.parametrize("kind", ["means", "lda", "kernel"])
def test_sums_over_labels_do_not_depend_on_their_order_and_can_be_taken_back(world: World, kind: str) -> None:
    def made() -> ClassMeans:
        plain = {"means": ClassMeans, "lda": StreamingLda}
        return plain[kind](D, K) if kind in plain else KernelLda(FeatureMap(D, 64), K)

    straight, mixed = made(), made()
    for labels in TASKS:
        given = world.experience(*labels)
        straight.add(given.x, given.y)
    order = np.random.default_rng(0).permutation(len(world.y))
    mixed.add(world.x[order], world.y[order])
    mixed.add(world.test_x[:50], world.test_y[:50])
    mixed.withdraw(world.test_x[:50], world.test_y[:50])
    assert np.abs(straight.scores(world.test_x) - mixed.scores(world.test_x)).max() < 1e-6
    right = straight.scores(world.test_x).argmax(axis=1) == world.test_y
    assert right.mean() > 0.85


def test_gdumb_learns_from_its_balanced_sample_alone(world: World) -> None:
    learner = GDumb(K, 30, lambda items: world.x[items])
    for labels in TASKS:
        learner.learn(world.experience(*labels))
    assert np.bincount(learner.buffer.y).tolist() == [5] * K
    assert (learner.scores(world.test_x).argmax(axis=1) == world.test_y).mean() > 0.7
