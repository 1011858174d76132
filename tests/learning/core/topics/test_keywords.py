"""Tokens of two languages without a dictionary, keywords that tell topics apart, and representatives that are not all
the same.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.topics.keywords import keywords, representatives, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My card's lost!", ["my", "card's", "my card's", "lost", "card's lost"]),
        ("Top-up failed", ["top", "up", "failed", "up failed"]),
        ("返金をお願いします", ["返金", "願い"]),
        ("まだ届きません", ["届き"]),
        ("パスワードを忘れた", ["パスワード", "忘れ"]),
        ("住所変更", ["住所変更", "住所", "所変", "変更"]),
        ("iPhoneで使えない", ["iphone", "使え"]),
        ("目が", []),
        ("…", []),
        ("Où est ma carte", ["où", "est", "où est", "ma", "est ma", "carte", "ma carte"]),
    ],
)
def test_texts_are_cut_where_words_or_scripts_end(text, expected):
    assert tokens(text) == expected


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_has_tokens_without_blanks_at_their_ends(text):
    assert all(t == t.strip() and t for t in tokens(text))


ENGLISH = [
    *[
        "my card has not arrived",
        "when does the new card arrive",
        "is the card delivery late",
        "card arrival takes long",
    ]
    * 5,
    *["the exchange rate is wrong", "what exchange rate do you use", "is the rate of the day used", "bad exchange rate"]
    * 5,
    *["i want my money back for this", "is a refund possible", "the refund has not come", "give me my money back"] * 5,
]
TOPICS = np.repeat([7, 3, 9], 20)


def test_keywords_tell_the_topics_apart():
    found = {topic: [k.term for k in terms] for topic, terms in keywords(ENGLISH, TOPICS).items()}
    assert any("card" in t for t in found[7][:2])
    assert found[3][0] == "exchange rate"
    assert any("refund" in t or "money back" in t for t in found[9][:3])


def test_words_of_every_topic_are_no_keywords():
    terms = {k.term for found in keywords(ENGLISH, TOPICS, most=3).values() for k in found}
    assert not terms & {"the", "is", "my", "is the"}


def test_japanese_topics_get_japanese_keywords():
    texts = ["荷物が届きません", "配送が遅い", "荷物の配送状況を教えて"] * 4 + [
        "返金してください",
        "返金の手続きは",
        "返金が遅い",
    ] * 4
    found = keywords(texts, np.repeat([0, 1], 12))
    assert {k.term for k in found[0][:3]} & {"荷物", "配送"}
    assert found[1][0].term == "返金"


def test_no_keyword_contains_another():
    for found in keywords(ENGLISH, TOPICS).values():
        terms = [k.term for k in found]
        assert not any(a != b and a in b for a in terms for b in terms)


def test_weights_fall():
    for found in keywords(ENGLISH, TOPICS).values():
        weights = [k.weight for k in found]
        assert weights == sorted(weights, reverse=True)


def test_one_long_text_does_not_set_the_topic():
    texts = [
        "fee for transfer",
        "transfer fee",
        "hidden fee",
        "spam spam spam spam spam spam",
        "card",
        "card lost",
        "lost card",
    ]
    found = keywords(texts, np.array([0, 0, 0, 0, 1, 1, 1]))
    assert found[0][0].term != "spam"


@pytest.mark.parametrize("texts", [["!", "?"], ["once", "upon"]])
def test_topics_without_repeated_terms_have_no_keywords(texts):
    assert keywords(texts, np.array([0, 1])) == {0: [], 1: []}


def test_a_single_topic_still_has_keywords():
    assert keywords(["card lost", "lost card", "card"], np.zeros(3, int))[0]


def test_representatives_are_typical_but_not_copies():
    rng = np.random.default_rng(0)
    x = rng.normal([3, 0, 0, 0], 0.4, (40, 4))
    x[:5] = x[0] * 0 + [3, 0.02, 0.02, 0.02]  # five copies at the centre
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    picked = representatives(x, np.zeros(40, int), most=3)[0]
    assert picked[0] < 5
    assert len(set(picked)) == 3
    assert sum(p < 5 for p in picked) < 3


def test_a_small_topic_is_represented_by_all_it_has():
    x = np.eye(3, dtype=np.float32)
    assert sorted(representatives(x, np.array([4, 4, 5]))[4]) == [0, 1]
