"""A learner that is kept and revived: it knows and protects what it did, and nothing that is gone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from learning.core.continual.learner import ContinualLearner
from learning.core.continual.state import Kept, Present, from_bytes, keep, revive, to_bytes
from tests.learning.core.continual.worlds import D, K, World

NAMES = tuple("abcdef")
EWC = {"ewc": 30.0, "ewc_gamma": 0.95}


def kept(learner: ContinualLearner, experiences: int = 3) -> Kept:
    return from_bytes(to_bytes(keep(learner, NAMES, str, experiences)))


def present(world: World, **changes: object) -> Present:
    numbers = {str(at): at for at in range(len(world.y))}
    labels = {str(at): int(y) for at, y in enumerate(world.y)}
    learned = {k: int((world.y == k).sum()) for k in range(K)}
    return replace(Present(D, NAMES, numbers, labels, learned), **changes)  # type: ignore[arg-type]


def revived(world: World, learner: ContinualLearner, **changes: object) -> ContinualLearner:
    return revive(kept(learner), present(world, **changes), lambda items: world.x[items])


@pytest.mark.parametrize("options", [{**EWC, "capacity": 60}, {"der": 0.1, "capacity": 60}, {"lwf": 2.0}])
def test_a_revived_learner_says_what_it_said(options: dict) -> None:
    world = World()
    learner = world.taught(**options)
    again = revived(world, learner)
    assert np.array_equal(again.scores(world.test_x), learner.scores(world.test_x))
    if learner.buffer is not None:
        assert again.buffer.labels == learner.buffer.labels


def test_the_same_bytes_learn_the_same_again() -> None:
    world = World()
    data = keep(world.taught(**EWC, capacity=60), NAMES, str, 3)
    first, second = (revive(from_bytes(to_bytes(data)), present(world), lambda i: world.x[i]) for _ in range(2))
    for learner in (first, second):
        learner.learn(world.experience(0, 5))
    assert to_bytes(keep(first, NAMES, str, 4)) == to_bytes(keep(second, NAMES, str, 4))


def test_the_fisher_protects_after_a_revival_as_before() -> None:
    world = World()
    protected = world.learner(ewc=3000.0, ewc_gamma=0.95)
    protected.learn(world.experience(0, 1))
    again = revived(world, protected)
    loose = revive(replace(kept(protected), arrays={n: a for n, a in kept(protected).arrays.items() if "fisher" not in n}),
                   present(world), lambda items: world.x[items])  # fmt: skip
    for learner in (again, loose):
        learner.learn(world.experience(2, 3))
    assert world.accuracy(again, 0, 1) > world.accuracy(loose, 0, 1) + 0.1


def test_what_lwf_knew_is_asked_about_after_a_revival() -> None:
    world = World()
    learner = world.learner(lwf=5.0)
    learner.learn(world.experience(0, 1))
    assert revived(world, learner).lwf.known == [0, 1]


def test_categories_keep_their_rows_wherever_they_stand_and_new_ones_start_at_zero() -> None:
    world = World()
    learner = world.taught(**EWC, capacity=60)
    order = ("new", "f", "a", "b", "c", "d")  # e is archived
    labels = {str(at): order.index(NAMES[y]) for at, y in enumerate(world.y) if NAMES[y] in order}
    again = revived(world, learner, categories=order, labels=labels)
    before, after = learner.scores(world.test_x), again.scores(world.test_x)
    assert after[:, 1:] == pytest.approx(before[:, [5, 0, 1, 2, 3]], abs=1e-5)
    assert not after[:, 0].any()
    assert 4 not in {NAMES[world.y[item]] for item in again.buffer.items}
    fisher = again.ewc.anchors[0][0]["out.weight"]
    assert not fisher[0].any()
    assert fisher[1].any()


def test_nothing_of_a_category_that_means_something_else_is_protected() -> None:
    world = World()
    again = revived(world, world.taught(**EWC, capacity=60), changed=("b",))
    fisher = again.ewc.anchors[0][0]["out.weight"]
    assert not fisher[1].any()
    assert fisher[0].any()


def test_items_that_are_no_more_are_neither_replayed_nor_scored() -> None:
    world = World()
    learner = world.taught(der=0.1, capacity=60)
    gone = set(map(str, learner.buffer.items[:10].tolist()))
    labels = {name: y for name, y in present(world).labels.items() if name not in gone}
    again = revived(world, learner, labels=labels)
    assert len(again.buffer.labels) == 50
    assert not gone & set(map(str, again.buffer.items.tolist()))
    assert set(again._scores) == set(again.buffer.labels)
    assert not gone & set(keep(again, NAMES, str, 4).items)


def test_an_item_with_another_label_is_replayed_with_that() -> None:
    world = World()
    learner = world.taught(capacity=60)
    item = int(learner.buffer.items[0])
    labels = {**present(world).labels, str(item): 5}
    assert revived(world, learner, labels=labels).buffer.labels[item] == 5


@pytest.mark.parametrize("cut", [1, 100])
def test_a_state_that_was_cut_off_is_refused(cut: int) -> None:
    data = to_bytes(keep(World().taught(**EWC), NAMES, str, 3))
    with pytest.raises(ValueError, match="cut off or changed"):
        from_bytes(data[:-cut])


@pytest.mark.parametrize(("options", "why"), [({"ewc": 1.0}, "ewc_gamma"), ({"network": "mlp"}, "only a linear one")])
def test_what_cannot_be_kept_is_refused(options: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        keep(World().taught(**options), NAMES, str, 3)
