from __future__ import annotations

import csv
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.sample import english, english_requests, japanese, japanese_requests
from learning.sample.grammar import CATEGORIES, KEYS, LOCALES, Shares, emerging, generate, replies, write_corpus
from learning.sample.phrases import expand

KANA = re.compile(r"[ぁ-ヿ]")


@pytest.mark.parametrize("locale", ["en", "ja", "mixed"])
def test_the_same_seed_gives_the_same_texts(locale):
    assert generate(50, seed=3, locale=locale) == generate(50, seed=3, locale=locale)


def test_another_seed_gives_other_texts():
    assert generate(50, seed=3, locale="en") != generate(50, seed=4, locale="en")


def test_a_longer_run_does_not_repeat_the_texts_of_another_seed():
    first, second = ({t for t, _ in generate(1000, seed=s, locale="en")} for s in (1, 2))
    assert len(first & second) < 20


@pytest.mark.parametrize("locale", LOCALES)
def test_at_least_95_percent_of_5000_texts_are_unique(locale):
    assert len({t for t, _ in generate(5000, seed=0, locale=locale)}) >= 4750


@pytest.mark.parametrize("locale", LOCALES)
def test_every_category_has_a_fair_share(locale):
    counts = Counter(key for _, key in generate(3000, seed=0, locale=locale))
    assert set(counts) == set(KEYS)
    assert min(counts.values()) > 120


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), locale=st.sampled_from(["en", "ja", "mixed"]))
def test_no_slot_or_choice_is_left_in_any_text(seed, locale):
    texts = [t for t, _ in generate(40, seed=seed, locale=locale)] + emerging(10, seed=seed, locale=locale)
    assert all(t.strip() and not re.search(r"[{}|()]", t) for t in texts)


def test_japanese_texts_are_japanese_and_english_ones_are_not():
    japanese_texts = [t for t, _ in generate(300, seed=0, locale="ja")]
    assert sum(bool(KANA.search(t)) for t in japanese_texts) > 290
    assert not any(KANA.search(t) for t, _ in generate(300, seed=0, locale="en"))


def test_mixed_texts_hold_the_stated_share_of_japanese():
    texts = [t for t, _ in generate(2000, seed=0, locale="mixed", shares=Shares(japanese=0.25))]
    assert 0.2 < sum(bool(KANA.search(t)) for t in texts) / 2000 < 0.3


def test_some_customers_are_angry_and_most_are_not():
    texts = [t for t, _ in generate(2000, seed=0, locale="en")]
    shouting = sum(t.endswith("!!") or t.isupper() for t in texts)
    assert 40 < shouting < 300


def test_a_text_speaks_of_one_product_only():
    products = english.SLOTS["product"]
    for text, _ in generate(300, seed=0, locale="en", shares=Shares(second_request=1)):
        assert sum(p in text for p in products) <= 2  # "fan heater" may stand beside a slip of another word


def test_an_unknown_locale_is_refused():
    with pytest.raises(ValueError, match="locale must be one of"):
        generate(1, seed=0, locale="xx")


def test_emerging_texts_are_of_a_kind_that_no_category_has():
    texts = emerging(60, seed=0, locale="en")
    assert len(set(texts)) > 50
    assert not {t for t, _ in generate(2000, seed=0, locale="en")} & set(texts)


@pytest.mark.parametrize("words", [english, japanese])
@pytest.mark.parametrize("requests", [english_requests, japanese_requests])
def test_every_category_has_requests_and_asides(words, requests):
    assert set(requests.REQUESTS) == set(words.ASIDES) == set(KEYS)
    assert all(len(phrases) >= 12 for phrases in requests.REQUESTS.values())


def test_every_category_is_described_in_every_locale():
    for category in CATEGORIES:
        for locale in LOCALES:
            assert category.name[locale]
            assert category.description[locale]
            assert category.guideline[locale]
            assert 2 <= len(category.examples[locale]) <= 3


def test_names_are_unique_and_a_person_must_answer_only_some():
    assert len({c.name["en"] for c in CATEGORIES}) == len({c.name["ja"] for c in CATEGORIES}) == len(CATEGORIES) == 12
    assert {c.key for c in CATEGORIES if c.high_risk} == {"account_deletion", "complaint"}


@pytest.mark.parametrize("locale", LOCALES)
def test_each_category_has_a_full_and_a_curt_reply(locale):
    for key in KEYS:
        full, curt = replies(key, locale)
        assert len(full) > 2 * len(curt) > 0


def test_a_corpus_has_no_test_text_among_its_training_texts(tmp_path):
    write_corpus(tmp_path / "corpus", train=400, test=200, seed=1, locale="ja")
    read = {
        n: list(csv.DictReader((tmp_path / "corpus" / f"{n}.csv").open(encoding="utf-8"))) for n in ("train", "test")
    }
    assert len(read["train"]) == 400
    assert len(read["test"]) > 150
    assert not {r["text"] for r in read["train"]} & {r["text"] for r in read["test"]}
    assert {r["label"] for r in read["train"]} == set(KEYS)


def test_an_unknown_slot_is_an_error_and_not_text():
    from random import Random

    with pytest.raises(KeyError):
        expand("the {thing}", {}, Random(0))
