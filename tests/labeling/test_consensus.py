from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.consensus import Answers, dawid_skene, majority


def world(
    seed: int, *, items: int = 1500, people: int = 9, labels: int = 5, each: int = 3
) -> tuple[Answers, np.ndarray]:
    """Annotators from hardly better than chance to almost always right."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels, items)
    who = np.concatenate([rng.choice(people, each, replace=False) for _ in range(items)])
    item = np.repeat(np.arange(items), each)
    skill = np.linspace(0.3, 0.95, people)
    said = np.where(rng.random(len(item)) < skill[who], truth[item], rng.integers(0, labels, len(item)))
    return Answers(item, who, said, items, people, labels), truth


@pytest.mark.parametrize("seed", range(4))
def test_it_beats_the_majority_where_annotators_are_of_mixed_quality(seed: int) -> None:
    answers, truth = world(seed)
    by_votes, by_weight = (majority(answers) == truth).mean(), (dawid_skene(answers).categories == truth).mean()
    assert by_weight > by_votes + 0.03


def test_it_finds_who_is_right_and_how_often() -> None:
    answers, truth = world(1, items=4000)
    found = dawid_skene(answers)
    measured = [(answers.categories == truth[answers.items])[answers.annotators == a].mean() for a in range(9)]
    believed = [np.trace(found.confusion[a]) / 5 for a in range(9)]
    assert np.abs(np.array(measured) - believed).max() < 0.08


def test_it_learns_that_somebody_always_takes_one_category_for_another() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    said = np.stack([truth, truth, np.where(truth == 2, 1, truth)], axis=1)
    answers = Answers(np.repeat(np.arange(600), 3), np.tile(np.arange(3), 600), said.ravel(), 600, 3, 3)
    found = dawid_skene(answers)
    assert found.confusion[2, 2, 1] > 0.95
    assert (found.categories == truth).all()


def test_the_same_answers_give_the_same_consensus_in_any_order() -> None:
    answers, _ = world(2, items=200)
    order = np.random.default_rng(0).permutation(len(answers.items))
    shuffled = Answers(answers.items[order], answers.annotators[order], answers.categories[order], 200, 9, 5)
    assert np.abs(dawid_skene(answers).posterior - dawid_skene(shuffled).posterior).max() < 1e-9


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_it_always_gives_probabilities(items: int, people: int, labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    item = np.repeat(np.arange(items), people)
    given_ = Answers(item, np.tile(np.arange(people), items), rng.integers(0, labels, len(item)), items, people, labels)
    found = dawid_skene(given_)
    for probabilities in (found.posterior, found.confusion, found.prior):
        assert np.isfinite(probabilities).all()
        assert np.allclose(probabilities.sum(axis=-1), 1)


def test_an_item_that_nobody_answered_gets_the_prior() -> None:
    answers = Answers(np.array([0, 1]), np.array([0, 0]), np.array([1, 1]), 3, 1, 2)
    found = dawid_skene(answers)
    assert np.allclose(found.posterior[2], found.prior, atol=0.05)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        Answers(np.array([0]), np.array([0]), np.array([2]), 1, 1, 2)
    with pytest.raises(ValueError, match="one length"):
        Answers(np.array([0, 1]), np.array([0]), np.array([0]), 2, 1, 1)
