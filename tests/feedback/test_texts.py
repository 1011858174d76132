from __future__ import annotations

import doctest
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback import ids, scores, texts


@pytest.mark.parametrize("module", [texts, scores])
def test_the_worked_examples_of_the_docstrings_hold(module):
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("text", ["", "  \n", "a\x00b", "\x1b[31mred", "x" * 8001, "half \ud83d pair"])
def test_it_says_what_is_wrong_with_a_text_that_is_none(text):
    assert texts.fault_in(text)


@pytest.mark.parametrize("text", ["x", "x" * 8000, "line\nbreak\ttab", "返金してください", "👍"])
def test_it_takes_any_real_text(text):
    assert texts.fault_in(text) is None


@given(st.text(min_size=1).filter(str.strip))
def test_the_fold_of_a_text_never_depends_on_case_or_surrounding_space(text):
    assert texts.fold_of(texts.group_digest(text)) == texts.fold_of(texts.group_digest(f"  {text}\n"))


def test_texts_that_differ_in_an_order_number_share_their_fold():
    assert texts.group_digest("Where is order 12345?") == texts.group_digest("where is order 9")


def test_texts_without_any_word_are_not_all_one_group():
    assert texts.group_digest("???") != texts.group_digest("👍")


def test_folds_are_eighty_ten_ten():
    share = Counter(
        texts.fold_of(texts.group_digest(f"text {chr(97 + n % 26)} {bin(n)} {'a' * n}")) for n in range(4000)
    )
    assert abs(share[0] / 4000 - 0.8) < 0.03
    assert abs(share[1] / 4000 - 0.1) < 0.02


def test_ids_made_later_sort_later():
    made = [ids.uuid7() for _ in range(50)]
    assert [u.int >> 80 for u in made] == sorted(u.int >> 80 for u in made)
    assert {u.version for u in made} == {7}
    assert {u.variant for u in made} == {"specified in RFC 4122"}
