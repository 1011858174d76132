"""The live head: in the answer at once, in the statistics exactly once, and stopped when it gets worse."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from learning.core.calibration import softmax
from learning.core.export import head_graph
from learning.core.heads.base import LiveBase
from learning.core.heads.journal import Change, Limits, held_from
from learning.core.heads.live import LiveHead
from learning.core.heads.neighbours import NeighbourScores
from learning.core.heads.training import TrainedHead, train_heads
from learning.core.heads.whitening import Whitening
from serving.head import HeadDelta, OnnxHead
from tests.learning.core.heads.synthetic import clusters, unit

K, D, BASE = 5, 16, 120
KEYS = tuple(f"c{i}" for i in range(K))
FREE = Limits(annotator_floor=1e9)


@cache
def world(*, names: bool = True) -> tuple[TrainedHead, list[Change], np.ndarray]:
    x, y, directions = clusters(BASE, K, d=D, spread=0.9)
    head = train_heads(x, y, categories=KEYS, prior_prototypes=directions if names else None, random_features=32)
    return (
        head,
        [Change(i, f"base{i}", KEYS[label], row) for i, (row, label) in enumerate(zip(x, y, strict=True))],
        directions,
    )


def live(*, names: bool = True, **options: object) -> LiveHead:
    head, labels, directions = world(names=names)
    return LiveHead.of(head, labels, name="b" * 64, prototypes=directions, **{"limits": FREE, **options})


def fresh(n: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    x, y, _ = clusters(n, K, d=D, spread=0.9, seed=seed)
    return x, y


def guard(n: int = 300) -> tuple[np.ndarray, list[str]]:
    x, y = fresh(n, seed=11)
    return x, [KEYS[label] for label in y]


def exact(head: LiveHead) -> float:
    return float(np.abs(head.refitted() - head.ridge_weights).max())


def test_it_starts_as_the_base() -> None:
    head, _, _ = world()
    weights, bias = live().weights
    assert np.abs(weights - head.weights).max() < 1e-9
    assert np.abs(bias - head.bias).max() < 1e-12
    assert (live().delta.number, live().delta.base) == (0, "b" * 64)


def test_a_label_is_in_the_next_delta_and_in_the_served_answer() -> None:
    given, x = live(), unit(np.random.default_rng(3).standard_normal((1, D)))
    base = OnnxHead.from_graph(
        head_graph(given.features), weights=given.delta.weights, bias=given.delta.bias, temperature=1.0, categories=KEYS
    )
    before = base.predict(x)[0, 2]
    assert given.apply(Change(1000, "new", "c2", x[0]))
    delta = given.publish()
    after = base.with_delta(HeadDelta.from_bytes(delta.to_bytes())).predict(x)[0, 2]
    assert delta.number == 1
    assert after > before


def test_a_delta_is_what_the_owner_computes() -> None:
    given, (x, y) = live(), fresh(20)
    for i in range(20):
        given.apply(Change(1000 + i, f"n{i}", KEYS[y[i]], x[i]))
    delta = given.publish()
    weights, bias = given.weights
    p = softmax((given.features(x) @ weights + bias) / given.temperature)
    served = OnnxHead.from_graph(
        head_graph(given.features),
        weights=delta.weights,
        bias=delta.bias,
        temperature=delta.temperature,
        categories=KEYS,
    )
    assert np.abs(served.predict(x) - p).max() < 1e-5


def test_nothing_new_is_no_new_delta() -> None:
    given = live()
    assert given.publish() is given.publish()
    given.apply(Change(1000, "new", "c0", np.ones(D)))
    first = given.publish()
    assert not given.apply(Change(1000, "new", "c0", np.ones(D)))
    assert given.publish() is first


def test_replaying_the_journal_after_a_restart_gives_the_same_head() -> None:
    x, y = fresh(40)
    journal = [Change(1000 + i, f"n{i % 25}", KEYS[y[i]] if i % 7 else None, x[i % 25]) for i in range(40)]
    first, second = live(), live()
    for change in journal:
        first.apply(change)
    for change in [*journal[:30], *journal[5:], *journal]:
        second.apply(change)
    assert np.abs(first.ridge_weights - second.ridge_weights).max() < 1e-10


def test_live_labels_make_it_better() -> None:
    given, (x, y), (gx, gy) = live(), fresh(300), guard(1000)

    def accuracy() -> float:
        weights, bias = given.weights
        return float(
            np.mean([KEYS[k] == a for k, a in zip((given.features(gx) @ weights + bias).argmax(1), gy, strict=True)])
        )

    before = accuracy()
    for i in range(300):
        given.apply(Change(1000 + i, f"n{i}", KEYS[y[i]], x[i]))
    assert accuracy() > before + 0.005


def test_ten_thousand_mixed_changes_equal_a_refit() -> None:
    given, rng = live(), np.random.default_rng(0)
    x = unit(rng.standard_normal((400, D)))
    for number in range(10_000):
        at = int(rng.integers(400))
        category = None if rng.random() < 0.3 else KEYS[rng.integers(K)]
        given.apply(Change(1000 + number, f"n{at}", category, x[at], float(rng.choice([0.25, 0.5, 1.0]))))
    assert exact(given) <= 1e-9


def wrong(given: LiveHead, n: int, annotator: str = "mallory", start: int = 5000) -> None:
    x, y = fresh(n, seed=23)
    for i in range(n):
        given.apply(Change(start + i, f"w{start + i}", KEYS[(y[i] + 1) % K], x[i], 1.0, annotator))


def test_two_hundred_wrong_labels_by_one_annotator_freeze_the_head() -> None:
    given = live(names=False, guard=guard(), limits=Limits())
    good = given.publish()
    published = [good]
    x, y = fresh(200, seed=23)
    for i in range(200):
        given.apply(Change(5000 + i, f"w{i}", KEYS[(y[i] + 1) % K], x[i], 1.0, "mallory"))
        published.append(given.publish())
    assert "guard texts fell" in given.frozen
    assert len({delta.number for delta in published}) < 200
    last = published[-1]
    right = np.mean(
        [
            KEYS[k] == a
            for k, a in zip((given.features(guard()[0]) @ last.weights + last.bias).argmax(1), guard()[1], strict=True)
        ]
    )
    start = np.mean(
        [
            KEYS[k] == a
            for k, a in zip((given.features(guard()[0]) @ good.weights + good.bias).argmax(1), guard()[1], strict=True)
        ]
    )
    assert right >= start - 0.06


def test_a_frozen_head_goes_on_counting_but_serves_its_last_good_delta() -> None:
    given = live(names=False, guard=guard())
    wrong(given, 200)
    frozen = given.publish()
    given.apply(Change(9000, "right", "c0", np.ones(D)))
    assert given.publish() is frozen
    assert exact(given) < 1e-9


def test_it_stays_frozen_until_the_wrong_labels_are_gone() -> None:
    given = live(names=False, guard=guard())
    wrong(given, 200)
    given.publish()
    assert not given.thaw()
    assert given.forget([f"w{i}" for i in range(5000, 5200)]) == 200
    assert given.frozen
    assert given.thaw()
    assert given.publish().number == 1


def test_a_person_may_accept_the_drop() -> None:
    given = live(names=False, guard=guard())
    wrong(given, 200)
    given.publish()
    assert given.thaw(accept=True)
    assert given.publish().number == 1


def test_the_cap_bounds_what_one_annotator_moves() -> None:
    given = live(limits=Limits(annotator_floor=20.0, annotator_share=0.0))
    before = float(given.statistics.weight.sum())
    wrong(given, 100)
    assert float(given.statistics.weight.sum()) == pytest.approx(before + 20.0)
    assert given.journal.held_back["mallory"] == pytest.approx(80.0)
    assert exact(given) < 1e-9


def test_forgotten_labels_leave_the_head_as_if_they_had_never_been() -> None:
    given, (x, y) = live(), fresh(30)
    untouched = live()
    for i in range(30):
        given.apply(Change(1000 + i, f"n{i}", KEYS[y[i]], x[i]))
    assert given.forget([f"n{i}" for i in range(30)] + ["unknown"]) == 30
    assert np.abs(given.ridge_weights - untouched.ridge_weights).max() <= 1e-9


def test_labels_of_the_base_can_be_forgotten_too() -> None:
    head, labels, directions = world()
    given = live()
    given.forget([f"base{i}" for i in range(40)])
    never = LiveHead.of(head, labels[40:], name="b" * 64, prototypes=directions, limits=FREE)
    assert np.abs(given.ridge_weights - never.ridge_weights).max() <= 1e-9


def test_the_temperature_follows_the_calibration_labels() -> None:
    x, y = fresh(200, seed=5)
    given = live(
        calibration=(x, [KEYS[(label + (i % 2)) % K] for i, label in enumerate(y)]), limits=Limits(recalibrate_every=1)
    )
    given.apply(Change(1000, "new", "c0", x[0]))
    assert given.publish().temperature > 1.2  # half of these labels are wrong: it has to become less sure


def test_a_new_category_is_recognised_from_its_text_alone() -> None:
    given = live()
    prototype = unit(np.random.default_rng(42).standard_normal((1, D)))[0]
    given.add_category("new", prototype)
    delta = given.publish()
    assert delta.categories[-1] == "new"
    assert (given.features(prototype)[0] @ delta.weights + delta.bias).argmax() == K
    assert exact(given) < 1e-9


def test_renamed_and_merged_categories_keep_the_guard_in_step() -> None:
    given = live(guard=guard())
    given.rename_category("c0", "zero")
    given.merge_categories(["c1", "c2"], "c1")
    assert given.publish().categories == ("zero", "c1", "c3", "c4")
    assert not given.frozen
    assert exact(given) < 1e-9


def test_a_split_moves_the_labels_that_are_named() -> None:
    given = live(guard=guard())
    labels = given.journal.labels_of("c3")
    given.split_category("c3", "c3b", [*labels[: len(labels) // 2], "unknown"])
    assert given.statistics.count[-1] == len(labels) // 2
    assert exact(given) < 1e-9


def test_a_deleted_category_takes_its_labels_with_it() -> None:
    given = live(guard=guard())
    given.delete_category("c2")
    assert given.categories == ("c0", "c1", "c3", "c4")
    assert exact(given) < 1e-9
    with pytest.raises(ValueError, match="no category c2"):
        given.apply(Change(1000, "new", "c2", np.ones(D)))


@pytest.mark.parametrize(("category", "x"), [("nowhere", np.ones(D)), ("c0", np.ones(D - 1)), ("c0", None)])
def test_a_refused_change_changes_nothing(category: str, x: np.ndarray | None) -> None:
    given = live()
    before = given.ridge_weights.copy()
    with pytest.raises(ValueError):
        given.apply(Change(1000, "new", category, x))
    assert np.array_equal(given.ridge_weights, before)
    assert given.apply(Change(1000, "new", "c0", np.ones(D)))


def test_a_head_without_a_ridge_cannot_follow_labels() -> None:
    _, _, directions = world()
    prior = train_heads(np.zeros((0, D)), [], categories=KEYS, prior_prototypes=directions)
    with pytest.raises(ValueError, match="of kind prior has no ridge"):
        LiveHead.of(prior, [], name="b", prototypes=directions)


def test_any_head_over_the_same_features_follows_labels() -> None:
    head, labels, directions = world()
    other = replace(head, kind="stack", parts={}, shares={}, weights=head.weights * 0.7)
    given, (x, y) = LiveHead.of(other, labels, name="b", prototypes=directions, limits=FREE), fresh(30)
    assert np.abs(given.weights[0] - other.weights).max() < 1e-12
    for i in range(30):
        given.apply(Change(1000 + i, f"n{i}", KEYS[y[i]], x[i]))
    gain = 0.5 / head.hyperparameters["members"]["ridge"]["temperature"]
    start = LiveHead.of(other, labels, name="b", prototypes=directions).ridge_weights
    assert given.weights[0] == pytest.approx(other.weights + gain * (given.refitted() - start), abs=1e-9)


def test_a_head_of_category_texts_that_won_against_a_ridge_starts_as_it_was_trained() -> None:
    head, labels, directions = world()
    parts = {"prior": head.parts["prior"]}
    theta = parts["prior"]
    prior = replace(head, kind="prior", parts=parts, shares={"prior": 1.0}, weights=theta[:-1], bias=theta[-1])
    given = LiveHead.of(prior, labels, name="b", prototypes=directions, limits=FREE)
    assert np.abs(given.weights[0] - prior.weights).max() < 1e-9


def test_a_base_is_read_back_as_it_was_written() -> None:
    head, labels, directions = world()
    base = LiveBase.of(head, [held_from(c, live=False) for c in labels], prototypes=directions)
    again = LiveBase.from_bytes(base.to_bytes())
    first, second = (LiveHead(b, labels, name="b") for b in (base, again))
    assert np.array_equal(first.weights[0], second.weights[0])
    with pytest.raises(ValueError, match="cut off or changed"):
        LiveBase.from_bytes(base.to_bytes()[:-8])


def test_many_changes_at_once_equal_the_same_changes_one_by_one() -> None:
    (x, y), first, second = fresh(60), live(), live()
    journal = [Change(1000 + i, f"n{i}", KEYS[y[i]], x[i]) for i in range(60)]
    for change in journal:
        first.apply(change)
    assert second.apply_all(journal) == 60
    assert second.apply_all(journal) == 0
    assert np.abs(first.ridge_weights - second.ridge_weights).max() < 1e-10
    assert second.publish().number == 1


def test_category_texts_that_the_base_was_trained_with_are_needed() -> None:
    head, labels, _ = world()
    with pytest.raises(ValueError, match="prototypes are needed"):
        LiveHead.of(head, labels, name="b")


class Journey(RuleBasedStateMachine):
    """Whatever happens to labels and categories, the online ridge equals a refit."""

    @initialize()
    def start(self) -> None:
        self.head, self.number, self.fresh = live(), 1000, 0
        self.x = unit(np.random.default_rng(1).standard_normal((12, D)))

    @rule(at=st.integers(0, 11), pick=st.integers(0, 99), weight=st.sampled_from([0.0, 0.3, 1.0]), known=st.booleans())
    def set_label(self, at: int, pick: int, weight: float, known: bool) -> None:
        self.number += 1
        category = self.head.categories[pick % len(self.head.categories)]
        label = f"base{at}" if known else f"n{at}"
        self.head.apply(Change(self.number, label, category, self.x[at], weight))

    @rule(at=st.integers(0, 11))
    def withdraw(self, at: int) -> None:
        self.number += 1
        self.head.apply(Change(self.number, f"n{at}", None))

    @rule(at=st.integers(0, 20))
    def forget(self, at: int) -> None:
        self.head.forget([f"base{at}"])

    @rule(named=st.booleans())
    def add_category(self, named: bool) -> None:
        self.fresh += 1
        self.head.add_category(f"new{self.fresh}", self.x[0] if named else None)

    @rule(pick=st.integers(0, 99))
    def rename(self, pick: int) -> None:
        self.fresh += 1
        self.head.rename_category(self.head.categories[pick % len(self.head.categories)], f"new{self.fresh}")

    @precondition(lambda self: len(self.head.categories) > 2)
    @rule(pick=st.integers(0, 99), other=st.integers(0, 99))
    def merge(self, pick: int, other: int) -> None:
        keys = self.head.categories
        self.head.merge_categories([keys[pick % len(keys)]], keys[other % len(keys)])

    @precondition(lambda self: len(self.head.categories) > 2)
    @rule(pick=st.integers(0, 99))
    def delete(self, pick: int) -> None:
        self.head.delete_category(self.head.categories[pick % len(self.head.categories)])

    @rule(pick=st.integers(0, 99))
    def split(self, pick: int) -> None:
        self.fresh += 1
        key = self.head.categories[pick % len(self.head.categories)]
        self.head.split_category(key, f"new{self.fresh}", self.head.journal.labels_of(key)[::2])

    @invariant()
    def it_equals_a_refit(self) -> None:
        if hasattr(self, "head"):
            assert exact(self.head) <= 1e-9
            delta = self.head.publish()
            assert delta.weights.shape == (self.head.features.width, len(self.head.categories))
            assert np.isfinite(delta.weights).all()


TestJourney = Journey.TestCase
TestJourney.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)


def looking_up() -> tuple[TrainedHead, list[Change], np.ndarray]:
    """A head like the stack's, which looks up neighbours and has no ridge of its own."""
    head, labels, directions = world()
    rows = np.stack([np.asarray(change.embedding) for change in labels]).astype(np.float32)
    votes = np.eye(K, dtype=np.float32)[[KEYS.index(str(change.category)) for change in labels]]
    found = NeighbourScores.of(rows, rows @ directions.T.astype(np.float32), Whitening.of(rows), votes, 0.8)
    return replace(head, kind="stack", parts={}, shares={}, neighbours=found), labels, directions


def follows_neighbours(**options: object) -> LiveHead:
    head, labels, directions = looking_up()
    return LiveHead.of(head, labels, name="b" * 64, prototypes=directions, **{"limits": FREE, **options})


def graph_of(given: LiveHead, delta: HeadDelta) -> OnnxHead:
    return OnnxHead.from_graph(
        head_graph(given.features, looking_up()[0].neighbours), weights=delta.weights, bias=delta.bias,
        temperature=delta.temperature, categories=delta.categories,
    )  # fmt: skip


def test_a_head_that_looks_up_neighbours_starts_as_it_was_trained() -> None:
    given, (head, _, _), (x, _) = follows_neighbours(), looking_up(), fresh(50)
    x = x[~head.undecided(x)]
    assert np.abs(graph_of(given, given.delta).predict(x) - head.probabilities(x)).max() < 1e-5


def test_a_head_that_looks_up_neighbours_follows_labels_and_keeps_what_they_say() -> None:
    given, (x, y) = follows_neighbours(), fresh(20)
    for i in range(20):
        given.apply(Change(1000 + i, f"n{i}", KEYS[y[i]], x[i]))
    delta = given.publish()
    weights, bias = given.weights
    head = looking_up()[0]
    x = x[~head.undecided(x)]
    rows = np.concatenate([head.neighbours(x), given.features(x)], axis=1)  # type: ignore[misc]
    assert np.array_equal(weights[:K], np.eye(K))
    assert np.abs(graph_of(given, delta).predict(x) - softmax((rows @ weights + bias) / given.temperature)).max() < 1e-5
    assert exact(given) < 1e-9


def test_its_guard_and_calibration_ask_the_neighbours_too() -> None:
    x, keys = guard(100)
    given = follows_neighbours(guard=(x, keys), calibration=(x, keys))
    served = graph_of(given, given.delta).predict(x)
    right = np.array([KEYS[i] for i in served.argmax(axis=1)]) == np.array(keys)
    assert given.guard_accuracy == pytest.approx(right.mean(), abs=0.011)
    assert given.recalibrate() > 0


def test_a_new_category_is_as_far_from_neighbours_as_any_other() -> None:
    given, (x, _) = follows_neighbours(), fresh(200)
    before = graph_of(given, given.delta).predict(x).argmax(axis=1)
    given.add_category("new")
    after = graph_of(given, given.publish()).predict(x).argmax(axis=1)
    assert (after != before).mean() < 0.05


def test_a_merged_category_is_answered_where_either_was() -> None:
    given, (x, _) = follows_neighbours(), fresh(300)
    before = graph_of(given, given.delta).predict(x).argmax(axis=1)
    given.merge_categories(["c1"], "c0")
    delta = given.publish()
    answers = np.array(delta.categories)[graph_of(given, delta).predict(x).argmax(axis=1)]
    moved = np.isin(before, [0, 1])
    assert (answers[moved] == "c0").mean() > 0.8  # until the next training: two logarithms have no sum that is linear
    assert (answers[~moved] == "c0").mean() < 0.1


def test_its_base_comes_back_from_its_bytes() -> None:
    head, labels, directions = looking_up()
    base = LiveBase.of(head, [held_from(c, live=False) for c in labels], prototypes=directions)
    again = LiveBase.from_bytes(base.to_bytes())
    assert (again.before, base.before) == (K, K)
    assert np.array_equal(again.fixed, base.fixed)
    with pytest.raises(ValueError, match="looks up neighbours"):
        LiveHead(again, labels, name="b" * 64)
