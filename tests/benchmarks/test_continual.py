"""The figures of learning task after task are what the contract says they are."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.continual import deal, figures, run, validation
from benchmarks.continual_methods import DEFAULT, METHODS, Data
from benchmarks.continual_relabel import drawn_change
from benchmarks.plots import picture, tasks_curve
from tests.learning.core.heads.synthetic import clusters


def world() -> Data:
    (x, y, _), (test_x, test_y, _) = (clusters(300, 6, d=12, spread=0.5, seed=seed) for seed in (0, 50))
    return Data(x, y, test_x, test_y, 6)


def test_forgetting_is_the_loss_against_the_best_and_bwt_against_the_first_accuracy() -> None:
    data = Data(np.zeros((3, 1)), np.arange(3), np.zeros((4, 1)), np.array([0, 1, 2, 2]), 3)
    found = figures([[0.8], [0.9, 0.7], [0.6, 0.5, 1.0]], data, [np.array([0]), np.array([1]), np.array([2])])
    assert found["accuracy"] == pytest.approx((0.6 + 0.5 + 2 * 1.0) / 4)
    assert found["forgetting"] == pytest.approx(((0.9 - 0.6) + (0.7 - 0.5)) / 2)
    assert found["bwt"] == pytest.approx(((0.6 - 0.8) + (0.5 - 0.7)) / 2)


def test_every_category_is_dealt_to_one_task() -> None:
    tasks = deal(11, 3, 0)
    assert sorted(np.concatenate(tasks).tolist()) == list(range(11))
    with pytest.raises(SystemExit, match="between 1 and"):
        deal(3, 4, 0)


def test_the_search_sees_no_text_that_it_is_judged_by_and_none_of_the_test() -> None:
    data = world()
    inner = validation(data, 0)
    assert len(inner.y) + len(inner.test_y) == len(data.y)
    assert set(inner.test_y.tolist()) == set(range(6))
    rows = {x.tobytes() for x in inner.x}
    assert not rows & {x.tobytes() for x in inner.test_x}
    assert not (rows | {x.tobytes() for x in inner.test_x}) & {x.tobytes() for x in data.test_x}


def test_the_default_comes_out_the_same_whatever_the_order_of_the_tasks() -> None:
    data = world()
    finals = [run(METHODS[DEFAULT], data, deal(6, 3, seed), {"lam": 0.1}, 0)["accuracy"] for seed in (0, 1)]
    assert finals[0] == pytest.approx(finals[1])
    assert finals[0] > 0.9


def test_a_change_merges_and_renames_different_categories() -> None:
    change = drawn_change(40, np.random.default_rng(0))
    merged = {k: v for k, v in change.moved.items() if v < 40}
    renamed = {k: v for k, v in change.moved.items() if v >= 40}
    assert (len(merged), len(renamed), change.classes) == (4, 4, 44)
    assert not set(merged) & set(merged.values())
    assert not set(renamed) & (set(merged) | set(merged.values()))


def test_a_picture_has_a_line_per_method() -> None:
    curves = {name: tasks_curve({"by_task": [[0.9], [0.8, 0.6]]}) for name in ("a", "b")}
    assert curves["a"] == [(1.0, 0.9, 0.0), (2.0, 0.7, 0.0)]
    shown = picture(curves, across="tasks seen")
    assert (shown.count("<polyline"), "tasks seen" in shown) == (2, True)
