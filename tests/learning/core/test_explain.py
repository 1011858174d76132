"""Contributions that add up to the score, and sampled Shapley values against the exact ones."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.explain import MOST_WORDS, contributions, word_shares, words_of
from learning.core.heads.features import FeatureMap


@pytest.mark.parametrize("count", [0, 48])
@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_coordinates_add_up_to_the_score_without_its_bias(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = FeatureMap(12, count, seed)
    x, weights = rng.normal(size=(5, 12)), rng.normal(size=(features.width, 3))
    category = rng.integers(0, 3, 5)
    score = (features(x) @ weights)[np.arange(5), category]
    assert contributions(features, weights, x, category).sum(axis=1) == pytest.approx(score, abs=1e-9)


def test_a_coordinate_counts_what_the_score_moves_with_it() -> None:
    rng = np.random.default_rng(0)
    features = FeatureMap(6, 32, 1)
    x, weights = rng.normal(size=(1, 6)), rng.normal(size=(features.width, 2))
    found = contributions(features, weights, x, np.array([1]))[0]
    step = 1e-6
    for j in range(6):
        moved = x.copy()
        moved[0, j] += step
        slope = ((features(moved) - features(x)) @ weights)[0, 1] / step
        assert found[j] == pytest.approx(x[0, j] * slope, abs=1e-5)


def game(texts: list[str]) -> np.ndarray:
    """Words count by themselves, and "not" turns "good" round: no additive game."""
    worth = {"good": 2.0, "late": -1.0, "very": 0.25}
    values = []
    for text in texts:
        words = text.split()
        total = sum(worth.get(w, 0.0) for w in words)
        values.append(total - 3.0 if {"not", "good"} <= set(words) else total)
    return np.array(values)


TEXT = "not very good and late"


def exact_shapley(text: str) -> np.ndarray:
    words = text.split()
    total = np.zeros(len(words))
    orders = list(permutations(range(len(words))))
    for order in orders:
        for k, word in enumerate(order):
            with_it, without = (" ".join(words[i] for i in sorted(order[:n])) for n in (k + 1, k))
            total[word] += game([with_it])[0] - game([without])[0]
    return total / len(orders)


@given(st.integers(0, 10**6))
def test_values_add_up_to_what_the_text_says_beyond_an_empty_one(seed: int) -> None:
    found = word_shares(TEXT, game, np.random.default_rng(seed))
    assert found.values.sum() == pytest.approx(found.whole - found.empty)
    assert (found.empty, found.whole) == (0.0, -1.75)


def test_sampled_values_come_to_the_exact_ones_with_more_permutations() -> None:
    found = word_shares(TEXT, game, np.random.default_rng(0), permutations=2_000)
    assert np.abs(found.values - exact_shapley(TEXT)).max() < 0.1
    few = word_shares(TEXT, game, np.random.default_rng(0), permutations=3)
    assert few.spread.max() > found.spread.max()


def test_the_same_seed_gives_the_same_values() -> None:
    first, again = (word_shares(TEXT, game, np.random.default_rng(5)) for _ in range(2))
    assert (first.values == again.values).all()


@given(st.text(max_size=400))
def test_words_lie_in_the_text_in_order_and_are_never_too_many(text: str) -> None:
    spans = words_of(text)
    assert len(spans) <= MOST_WORDS
    places = [place for span in spans for place in (span.start, span.end)]
    assert places == sorted(places)
    assert all(text[s.start : s.end].strip() for s in spans)


def test_japanese_is_cut_where_the_script_changes() -> None:
    text = "注文した商品がまだ届きません"
    assert [text[s.start : s.end] for s in words_of(text)] == ["注文", "した", "商品", "がまだ", "届", "きません"]


def test_the_number_of_texts_that_are_read_has_a_bound() -> None:
    read: list[int] = []

    def value(texts: list[str]) -> np.ndarray:
        read.append(len(texts))
        return np.zeros(len(texts))

    word_shares("word " * 400, value, np.random.default_rng(0))
    assert sum(read) <= 3 * (MOST_WORDS + 1)
