"""Proposals: within bounds, from the seed and what was told alone."""

from __future__ import annotations

import pytest

from learning.core.continual.methods import METHODS
from learning.core.continual.searching import Told, proposals

SPACE = METHODS["ewc_replay"].searched


def told(count: int) -> list[Told]:
    """The more epochs, the better; every fifth trial failed."""
    found: list[Told] = []
    while len(found) < count:
        for given in proposals(SPACE, found, count=4, seed=1):
            loss = None if len(found) % 5 == 4 else 1.0 / given["epochs"]
            found.append(Told(given, loss))
    return found[:count]


def test_the_first_proposal_is_the_middle_and_the_others_differ() -> None:
    first, *others = proposals(SPACE, [], count=4, seed=3)
    assert first["ewc"] == pytest.approx(3.0)
    assert first["epochs"] == 24
    assert len({o["rate"] for o in [first, *others]}) == 4


def test_every_proposal_lies_within_the_bounds() -> None:
    for trial in told(24):
        for name, (low, high) in SPACE.items():
            assert low <= trial.options[name] <= high, name


def test_the_same_seed_and_trials_give_the_same_proposals_and_another_seed_others() -> None:
    past = told(12)
    assert proposals(SPACE, past, count=3, seed=1) == proposals(SPACE, past, count=3, seed=1)
    assert proposals(SPACE, past, count=3, seed=1) != proposals(SPACE, past, count=3, seed=2)


def test_later_proposals_go_where_the_loss_was_small() -> None:
    past = told(40)
    early = [t.options["epochs"] for t in past[:10]]
    late = [t.options["epochs"] for t in past[-10:]]
    assert sum(late) > sum(early)
