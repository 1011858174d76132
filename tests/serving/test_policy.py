"""Candidates and draws of a reply policy, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.core.preference.policy import ReplyPolicy, policy_graph
from serving.policy import Offer, ServedPolicy, candidates, choose, filled

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OFFERS = (
    Offer(1, "refund", "en", "one"),
    Offer(2, "refund", "en", "two", NOW),
    Offer(3, "refund", "en", "Order {order}"),
    Offer(4, "refund", "ja", "四"),
    Offer(5, "delivery", "en", "five"),
)


def offered(category="refund", locale="en", **metadata):
    return candidates(OFFERS, category=category, locale=locale, metadata=metadata, now=NOW)


def served(exploration=0.2):
    rng = np.random.default_rng(0)
    policy = ReplyPolicy(rng.standard_normal((6, 5)).astype(np.float32), np.zeros(5, np.float32))
    return policy, ServedPolicy(policy_graph(policy), [1, 2, 3, 4, 5], temperature=1.0, exploration=exploration)


def test_a_reply_of_another_category_or_locale_or_an_expired_one_is_no_candidate():
    assert offered() == {1: "one"}
    assert offered(locale="ja-JP") == {4: "四"}
    assert offered(locale="fr") == {1: "one"}


def test_a_reply_with_a_gap_is_one_only_where_the_inquiry_fills_it():
    assert offered(order="A-7") == {1: "one", 3: "Order A-7"}
    assert offered(order=["A-7"]) == {1: "one"}
    assert filled("{a}{b}", {"a": "{b}", "b": 2}) == "{b}2"


def test_a_reply_that_expires_later_is_one_until_then():
    soon = (Offer(1, "refund", "en", "one", NOW + timedelta(seconds=1)),)
    assert candidates(soon, category="refund", locale="en", metadata={}, now=NOW) == {1: "one"}


def test_probabilities_are_those_of_the_trained_policy():
    policy, graph = served()
    x = np.random.default_rng(1).standard_normal(6).astype(np.float32)
    mask = np.array([[True, False, True, True, False]])
    wanted = policy.probabilities(x[None], mask, exploration=0.2)[0, [0, 2, 3]]
    np.testing.assert_allclose(graph.probabilities(x, [1, 3, 4]), wanted, atol=1e-6)


@given(st.floats(0, 1, exclude_max=True), st.sets(st.integers(1, 9), max_size=6))
def test_only_what_is_offered_is_chosen_and_its_propensity_is_that_of_the_draw(draw, ids):
    _, graph = served()
    found = choose(graph, 7, np.ones(6, np.float32), {i: str(i) for i in ids}, draw=draw)
    if not ids & {1, 2, 3, 4, 5}:
        assert found is None
        return
    assert found.reply in ids & {1, 2, 3, 4, 5}
    assert found.text == str(found.reply)
    assert found.propensity == pytest.approx(found.candidates[found.reply])
    assert sum(found.candidates.values()) == pytest.approx(1)
    assert found.propensity >= 0.2 / len(found.candidates) - 1e-6


def test_without_a_draw_the_likeliest_is_taken():
    _, graph = served(exploration=1.0)
    found = choose(graph, 7, np.ones(6, np.float32), {1: "a", 2: "b", 3: "c"}, draw=None)
    assert found.reply == max(found.candidates, key=found.candidates.get)


def test_a_graph_with_other_columns_than_its_manifest_names_is_refused():
    policy, _ = served()
    with pytest.raises(ValueError, match="scores 5 candidates"):
        ServedPolicy(policy_graph(policy), [1, 2], temperature=1.0, exploration=0.1)
