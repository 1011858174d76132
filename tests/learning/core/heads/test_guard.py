"""The guard set: it stops a real drop, and does not cry wolf."""

from __future__ import annotations

import numpy as np

from learning.core.heads.features import FeatureMap
from learning.core.heads.guard import Guard

WEIGHTS, KEYS = np.eye(3), ("a", "b", "c")


def guard(n: int = 100, margin: float = 0.02) -> Guard:
    made = Guard(FeatureMap(3), np.eye(3)[np.arange(n) % 3], [KEYS[i % 3] for i in range(n)], margin)
    made.accept(made.right(made.phi @ WEIGHTS, KEYS))
    return made


def worse(right: np.ndarray, by: int) -> np.ndarray:
    fallen = right.copy()
    fallen[:by] = False
    return fallen


def test_it_knows_which_answers_are_right() -> None:
    made = guard()
    assert made.right(made.phi @ WEIGHTS, KEYS).all()
    assert not made.right(made.phi @ WEIGHTS[:, [1, 2, 0]], KEYS).any()


def test_scores_that_are_not_numbers_are_not_right() -> None:
    made = guard()
    scores = made.phi @ WEIGHTS
    scores[::2, 0] = np.nan
    assert made.objection(made.right(scores, KEYS))


def test_it_goes_by_the_keys_and_not_by_their_order() -> None:
    made = guard()
    assert made.right(made.phi @ WEIGHTS[:, [2, 0, 1]], ("c", "a", "b")).all()


def test_a_drop_beyond_the_margin_is_refused_with_both_figures() -> None:
    made = guard()
    said = made.objection(worse(made.right(made.phi @ WEIGHTS, KEYS), 10))
    assert said == "accuracy on 100 guard texts fell from 1.000 to 0.900, margin 0.020"


def test_a_drop_within_the_margin_passes() -> None:
    made = guard(margin=0.2)
    assert made.objection(worse(made.right(made.phi @ WEIGHTS, KEYS), 10)) == ""


def test_a_drop_that_may_be_chance_passes() -> None:
    made = guard(n=20)
    assert made.objection(worse(made.right(made.phi @ WEIGHTS, KEYS), 1)) == ""


def test_without_guard_texts_nothing_is_refused() -> None:
    made = guard(n=0)
    assert made.objection(made.right(made.phi @ WEIGHTS, KEYS)) == ""


def test_small_drops_do_not_add_up_unseen() -> None:
    made, by = guard(), 0
    right = made.right(made.phi @ WEIGHTS, KEYS)
    while not made.objection(worse(right, by)):
        by += 1
    assert by <= 7  # against the base, not against the step before


def test_what_a_person_accepts_is_the_new_reference() -> None:
    made = guard()
    fallen = worse(made.right(made.phi @ WEIGHTS, KEYS), 10)
    made.accept(fallen)
    assert made.objection(fallen) == ""


def test_renamed_categories_are_renamed_in_the_answers() -> None:
    made = guard()
    made.rename({"a": "z", "b": "z"})
    assert made.right(made.phi @ np.array([[1.0, 0], [1, 0], [0, 1]]), ("z", "c")).all()


def test_texts_of_a_category_that_is_no_more_are_left_out() -> None:
    made = guard(n=99)
    made.drop("b")
    right = made.right(made.phi @ WEIGHTS, KEYS)
    assert len(right) == 66
    assert made.objection(right) == ""
