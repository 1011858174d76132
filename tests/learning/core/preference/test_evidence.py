"""The arrays: what they refuse, and what taking rows keeps."""

from __future__ import annotations

import numpy as np
import pytest

from learning.core.preference.evidence import Replies, Votes, numbered


def votes(**changes: object) -> Votes:
    given: dict[str, object] = {
        "inquiry": np.array([0, 1, 2]),
        "reply": np.array([1, 0, 1]),
        "up": np.array([1.0, 0.0, 0.5]),
        "propensity": np.array([0.5, 0.1, 1.0]),
        "voter": np.array([0, 0, 1]),
    }
    return Votes(**(given | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"up": np.array([1.0, 2.0, 0.0])}, "lies in"),
        ({"propensity": np.array([0.0, 0.1, 0.2])}, "propensity"),
        ({"time": np.array([1.0])}, "one time each"),
    ],
)
def test_votes_that_cannot_be_are_refused(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        votes(**changes)


def test_taking_rows_keeps_columns_aligned_and_absent_ones_absent() -> None:
    taken = votes(network=np.array([7, 8, 9])).take(np.array([2, 0]))
    assert taken.network is not None
    assert taken.network.tolist() == [9, 7]
    assert taken.up.tolist() == [0.5, 1.0]
    assert taken.time is None
    assert len(taken) == 2


def test_a_category_centre_is_the_mean_of_its_replies() -> None:
    replies = Replies(np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]), np.array([1, 1, 0]))
    assert replies.centres().tolist() == [[2.0, 2.0], [0.5, 0.5]]


@pytest.mark.parametrize("category", [np.array([0, 2, 2]), np.array([0, 1])])
def test_replies_need_categories_without_gaps(category: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"categor"):
        Replies(np.zeros((3, 2)), category)


def test_numbering_follows_the_sorted_values() -> None:
    assert numbered(np.array(["b", "a", "b", "z"])).tolist() == [1, 0, 1, 2]
