"""Several purposes in one queue: every beginning of it respects their shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.selection.mixing import counts, mixed

NAMES = ("selection", "risk", "diversity")
permutations = st.permutations(range(30)).map(np.array)


def orders(of: list[np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip(NAMES, of, strict=True))


@given(st.lists(permutations, min_size=3, max_size=3), st.integers(0, 100), st.integers(0, 100))
def test_every_beginning_respects_the_shares_to_within_one(of, risk, diversity):
    # Each purpose wants items of its own, so that nothing but the shares decides.
    own = {name: order + 100 * k for k, (name, order) in enumerate(orders(of).items())}
    parts = {"selection": 100.0, "risk": float(risk), "diversity": float(diversity)}
    found = mixed(own, parts, 25)
    for n in range(1, 26):
        for name, share in parts.items():
            assert abs(found.purposes[:n].count(name) - n * share / sum(parts.values())) <= 1.0 + 1e-9


@given(st.lists(permutations, min_size=3, max_size=3), st.floats(0.01, 1), st.floats(0, 1), st.floats(0, 1))
def test_everything_is_placed_once_whoever_wants_it(of, a, b, c):
    found = mixed(orders(of), dict(zip(NAMES, (a, b, c), strict=True)), 30)
    assert sorted(found.ids.tolist()) == list(range(30))
    assert sum(counts(found.purposes).values()) == 30


@given(st.lists(permutations, min_size=3, max_size=3))
def test_with_all_of_the_queue_a_purpose_keeps_its_order(of):
    found = mixed(orders(of), {"selection": 1.0, "risk": 0.0, "diversity": 0.0}, 30)
    assert found.ids.tolist() == of[0].tolist()
    assert set(found.purposes) == {"selection"}


@given(st.lists(permutations, min_size=3, max_size=3))
def test_each_purpose_places_its_items_in_its_own_order(of):
    found = mixed(orders(of), {"selection": 0.6, "risk": 0.2, "diversity": 0.2}, 30)
    for name, order in orders(of).items():
        own = [i for i, purpose in zip(found.ids.tolist(), found.purposes, strict=True) if purpose == name]
        assert own == [i for i in order.tolist() if i in own]


def test_the_share_of_a_purpose_that_has_nothing_left_goes_to_the_others():
    few = {"selection": np.arange(10), "risk": np.array([20]), "diversity": np.arange(30, 34)}
    found = mixed(few, {"selection": 0.5, "risk": 0.3, "diversity": 0.2}, 12)
    assert counts(found.purposes)["risk"] == 1
    assert len(found.ids) == 12
    assert len(mixed(few, {"selection": 0.5, "risk": 0.3, "diversity": 0.2}, 99).ids) == 15


def test_a_share_that_is_negative_or_missing_is_named():
    for shares in ({"selection": 1.0}, {"selection": 1.0, "risk": -0.1}, {"selection": 1.0, "risk": float("nan")}):
        with pytest.raises(ValueError, match="risk"):
            mixed({"selection": np.arange(3), "risk": np.arange(3)}, shares, 3)
