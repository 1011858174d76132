"""The journal: each label once, in its latest state, whatever the order and however often it is replayed."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.heads.journal import Change, Journal, Limits

X = np.eye(3)


def change(number: int, label: str, category: str | None = "a", weight: float = 1.0, annotator: str = "ann") -> Change:
    return Change(number, label, category, X[0], weight, annotator)


def journal(base: list[Change] | None = None, floor: float = 100.0, share: float = 0.0) -> Journal:
    return Journal(base or [], Limits(annotator_floor=floor, annotator_share=share))


def state(given: Journal) -> list[tuple[str, float]]:
    return sorted((held.category, held.weight) for held in given)


def test_a_change_is_taken_once() -> None:
    given = journal()
    assert given.take(change(1, "x")) is not None
    assert given.take(change(1, "x")) is None
    assert state(given) == [("a", 1.0)]


def test_an_older_change_comes_too_late() -> None:
    given = journal()
    given.take(change(2, "x", "b"))
    assert given.take(change(1, "x", "a")) is None
    assert state(given) == [("b", 1.0)]


def test_a_withdrawn_label_is_not_revived_by_an_older_change() -> None:
    given = journal()
    given.take(change(2, "x", None))
    assert given.take(change(1, "x", "a")) is None
    assert state(given) == []


def test_a_withdrawn_label_may_be_set_anew() -> None:
    given = journal()
    for entry in (change(1, "x"), change(2, "x", None), change(3, "x", "b")):
        given.take(entry)
    assert state(given) == [("b", 1.0)]


entries = st.lists(
    st.tuples(st.sampled_from("xyz"), st.sampled_from(["a", "b", None]), st.sampled_from([0.5, 1.0])), max_size=12
)


@settings(max_examples=100, deadline=None)
@given(entries, st.integers(0, 99))
def test_the_order_and_repetition_of_entries_do_not_matter(
    given: list[tuple[str, str | None, float]], seed: int
) -> None:
    numbered = [change(i, label, category, weight) for i, (label, category, weight) in enumerate(given)]
    shuffled = numbered * 2
    random.Random(seed).shuffle(shuffled)
    first, second = journal(), journal()
    for entry in numbered:
        first.take(entry)
    for entry in shuffled:
        second.take(entry)
    assert state(first) == state(second)


@settings(max_examples=100, deadline=None)
@given(entries, st.sampled_from(["ann", "ben"]))
def test_no_annotator_ever_has_more_than_the_allowance(given: list[tuple[str, str | None, float]], other: str) -> None:
    limited = journal(floor=1.25)
    for i, (label, category, weight) in enumerate(given):
        limited.take(change(i, label, category, weight, "ann" if i % 2 else other))
        for name in ("ann", other):
            assert sum(h.weight for h in limited if h.annotator == name) <= 1.25 + 1e-12


def test_what_exceeds_the_cap_is_held_back_and_counted() -> None:
    given = journal(floor=1.5)
    given.take(change(1, "x"))
    given.take(change(2, "y"))
    given.take(change(3, "z"))
    assert state(given) == [("a", 0.5), ("a", 1.0)]
    assert given.held_back == {"ann": 1.5}


def test_another_annotator_has_an_allowance_of_their_own() -> None:
    given = journal(floor=1.0)
    given.take(change(1, "x"))
    given.take(change(2, "y", annotator="ben"))
    assert len(state(given)) == 2


def test_with_nothing_left_a_label_keeps_what_it_had() -> None:
    given = journal([change(0, "x", "a", annotator="ben")], floor=1.0)
    given.take(change(1, "y"))
    given.take(change(2, "x", "b"))
    assert state(given) == [("a", 1.0), ("a", 1.0)]
    assert given.take(change(2, "x", "b")) is None


def test_changing_ones_mind_costs_nothing() -> None:
    given = journal(floor=1.0)
    given.take(change(1, "x", "a"))
    given.take(change(2, "x", "b"))
    assert state(given) == [("b", 1.0)]
    assert not given.held_back


def test_a_withdrawal_gives_the_allowance_back() -> None:
    given = journal(floor=1.0)
    for entry in (change(1, "x"), change(2, "x", None), change(3, "y", "b")):
        given.take(entry)
    assert state(given) == [("b", 1.0)]


def test_labels_of_the_base_do_not_count_for_the_cap() -> None:
    given = journal([change(i, str(i)) for i in range(10)], floor=0.0, share=0.1)
    assert given.allowance == 1.0
    given.take(change(11, "new"))
    assert len(state(given)) == 11


def test_a_forgotten_label_leaves_no_trace() -> None:
    given = journal([change(0, "x")])
    assert given.forget("x").category == "a"
    assert "x" not in given
    assert state(given) == []


def test_renamed_categories_are_renamed_in_every_label() -> None:
    given = journal([change(0, "x", "a"), change(0, "y", "b"), change(0, "z", "c")])
    given.rename({"a": "m", "b": "m"})
    assert sorted(given.labels_of("m")) == ["x", "y"]
    assert given.labels_of("c") == ["z"]


@pytest.mark.parametrize(
    "bad",
    [
        Change(1, "x", "a"),
        Change(1, "x", "a", X),
        Change(1, "x", "a", [np.nan, 0, 0]),
        change(1, "x", weight=-1.0),
        change(1, "x", weight=float("nan")),
    ],
)
def test_it_refuses_what_cannot_be_counted(bad: Change) -> None:
    given = journal()
    with pytest.raises(ValueError, match="label x needs"):
        given.take(bad)
    assert "x" not in given
