"""Category texts as a head: something for every category, and confidence from geometry alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.calibration import accuracy, softmax
from learning.core.heads.prior import category_texts, prior_scale, prototypes
from tests.learning.core.heads.synthetic import clusters, unit


@pytest.mark.parametrize(
    ("given", "texts"),
    [
        ({"key": "card_lost"}, ["card lost"]),
        ({"key": "c1", "name": "Lost-card "}, ["Lost card"]),
        ({"key": "c1", "name": "Hours", "description": "When we are open.", "examples": ["open today?", ""]},
         ["Hours", "When we are open.", "open today?"]),
        ({"key": "c1", "name": "Hours", "description": "Hours"}, ["Hours"]),
        ({"key": "__"}, ["__"]),
    ],
)  # fmt: skip
def test_every_category_has_something_to_say(given: dict[str, object], texts: list[str]) -> None:
    assert category_texts(**given) == texts


def test_a_prototype_is_the_unit_mean_of_its_texts() -> None:
    rows = unit(np.random.default_rng(0).standard_normal((5, 8)))
    found = prototypes([rows[:1], rows[1:]])
    assert found[0] == pytest.approx(rows[0])
    assert found[1] == pytest.approx(unit(rows[1:].mean(axis=0, keepdims=True))[0])


def test_texts_that_cancel_out_say_nothing() -> None:
    assert not prototypes([np.eye(3)[:1], np.array([[1.0, 0, 0], [-1, 0, 0]]), np.zeros((0, 3))])[1:].any()


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 30), st.integers(2, 60), st.integers(0, 99))
def test_the_scale_follows_from_the_scatter_of_the_prototypes(count: int, d: int, seed: int) -> None:
    known = unit(np.random.default_rng(seed).standard_normal((count, d)))
    cosines = (known @ known.T)[~np.eye(count, dtype=bool)]
    spread = max(cosines.std(), 1 / np.sqrt(d))
    assert prior_scale(known) == pytest.approx(np.sqrt(2 * np.log(count)) / spread)


def test_a_category_of_which_nothing_is_known_does_not_count() -> None:
    known = unit(np.random.default_rng(0).standard_normal((6, 9)))
    assert prior_scale(np.r_[known, np.zeros((3, 9))]) == prior_scale(known)


@pytest.mark.parametrize("known", [np.zeros((0, 4)), np.eye(4)[:1], np.zeros((3, 4))])
def test_fewer_than_two_known_categories_need_no_scale(known: np.ndarray) -> None:
    assert prior_scale(known) == 1.0


def test_categories_that_mean_the_same_do_not_break_it() -> None:
    assert np.isfinite(prior_scale(np.ones((5, 16)) / 4))


@pytest.mark.parametrize("spread", [0.8, 1.2, 1.6])
def test_confidence_is_about_as_high_as_accuracy_without_any_label(spread: float) -> None:
    x, y, _ = clusters(3000, 40, d=64, spread=spread)
    named, _, _ = clusters(3000, 40, d=64, spread=0.0)
    directions = named[[int(np.flatnonzero(clusters(3000, 40, d=64, spread=0.0)[1] == k)[0]) for k in range(40)]]
    p = softmax(prior_scale(directions) * x @ directions.T)
    right = accuracy(p.argmax(axis=1), y).estimate
    assert right > 0.5
    assert p.max(axis=1).mean() <= right + 0.05  # never bold


def test_unlabeled_texts_may_say_how_cosines_scatter() -> None:
    x, _, directions = clusters(500, 3, d=64)
    assert prior_scale(directions, x) == pytest.approx(np.sqrt(2 * np.log(3)) / (x @ directions.T).std(axis=1).mean())
