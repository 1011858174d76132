"""Why an item was picked, in words and as data."""

from __future__ import annotations

import json

import pytest

from learning.selection import Reason

NAMES = ["Refund", "Delivery", "Invoice", "Other"]


def test_a_split_names_both_categories():
    reason = Reason("uncertain", split=((0, 0.48), (1, 0.46)))
    assert reason.in_words(NAMES) == "split 48/46 between Refund and Delivery"


def test_what_it_stands_for_is_said_too():
    reason = Reason("represents", split=((0, 0.5), (1, 0.4)), similar=36.2)
    assert reason.in_words(NAMES) == "split 50/40 between Refund and Delivery; stands for about 35 similar inquiries"


def test_one_inquiry_is_not_plural():
    assert Reason("represents", similar=2).in_words(NAMES) == "stands for about 1 similar inquiry"


def test_a_sure_answer_is_not_called_a_split():
    assert Reason("represents", split=((2, 0.97), (1, 0.01))).in_words(NAMES) == "probably Invoice (97 %)"


def test_no_idea_is_said_plainly():
    many = [f"C{i}" for i in range(50)]
    assert Reason("uncertain", split=((0, 0.03), (1, 0.03))).in_words(many) == "the model has no idea yet"


def test_distance_is_said_first_where_it_is_the_ground():
    reason = Reason("far", distance=0.634, split=((0, 0.6), (1, 0.3)))
    said = reason.in_words(NAMES)
    assert said == "unlike anything labeled so far (nearest at distance 0.63); split 60/30 between Refund and Delivery"


def test_an_audit_says_its_chance():
    assert Reason("audit", propensity=0.004).in_words(NAMES) == "drawn at random to measure accuracy (chance 1 in 250)"
    assert "every item" in Reason("audit", propensity=1.0).in_words(NAMES)


def test_a_reason_survives_storage():
    reason = Reason("represents", split=((0, 0.5), (3, 0.25)), similar=12.0, score=0.01, extra={"batch": 3})
    assert Reason.from_json(json.loads(json.dumps(reason.as_json()))) == reason


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="no such reason"):
        Reason("whim")
