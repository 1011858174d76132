"""Ids from the memo of words are the library's ids, for every text."""

from __future__ import annotations

import string
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from serving.encoder import tokens as module
from serving.encoder.tokens import Tokens

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_letters, *string.digits, *string.punctuation]
VOCABULARY += [f"##{c}" for c in string.ascii_letters + string.digits]
VOCABULARY += ["my", "card", "##s", "##ing", "pay", "don", "card's", "2024"]
PIECES = [
    "my",
    "cards",
    "Paying",
    "don't",
    "2024",
    "£10",
    "[SEP]",
    "[sep]",
    "[ MASK ]",
    "x" * 120,
    "a_b",
    "\x00",
    "é",
    "渡",
]
TEXTS = st.text(max_size=60) | st.text(st.characters(max_codepoint=127), max_size=60)
TEXTS |= st.lists(st.sampled_from([*PIECES, " ", "\n", "\t", ".", ""]), max_size=30).map(" ".join)


def made(*, lowercase: bool = True, template: bool = True, phrase: bool = False) -> Tokenizer:
    made = Tokenizer(models.WordPiece({w: i for i, w in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if template:
        special = [("[CLS]", VOCABULARY.index("[CLS]")), ("[SEP]", VOCABULARY.index("[SEP]"))]
        made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    made.add_special_tokens(["[PAD]", "[CLS]", "[SEP]", "[MASK]"])
    made.add_tokens([AddedToken("order number", normalized=True)] if phrase else [])
    return made


def by_the_library(tokenizer: Tokenizer, texts: list[str], most: int) -> list[list[int]]:
    tokenizer.no_padding()
    tokenizer.enable_truncation(most)
    return [tokenizer.encode(t.encode("utf-8", "replace").decode()).ids for t in texts]


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("template", [True, False])
@settings(max_examples=200, deadline=None)
@given(texts=st.lists(TEXTS, max_size=5), most=st.integers(3, 40))
def test_ids_are_those_of_the_library(lowercase, template, texts, most):
    expected = by_the_library(made(lowercase=lowercase, template=template), texts, most)
    tokens = Tokens(made(lowercase=lowercase, template=template), most)
    assert tokens(texts) == expected
    assert tokens(texts) == expected, "the second time, from the memo"


@pytest.mark.parametrize(
    "text", ["My cards don't work!", "an order number", "see [SEP] here", "[mask]", "a\x07b", "naïve"]
)
def test_texts_of_every_kind_are_read_alike(text):
    assert Tokens(made(), 64)([text]) == by_the_library(made(), [text], 64)


@pytest.mark.parametrize("text", ["an order number", "an ORDER\nnumber", "order\t number"])
def test_a_token_of_several_words_is_found_wherever_the_library_finds_it(text):
    assert Tokens(made(phrase=True), 64)([text]) == by_the_library(made(phrase=True), [text], 64)


def test_a_plain_text_whose_words_are_known_is_not_given_to_the_library(monkeypatch):
    tokens = Tokens(made(), 64)
    expected = tokens(["my cards"])

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("asked the library")

    monkeypatch.setattr(tokens, "_word", refuse)
    assert tokens(["My  CARDS"]) == expected


def test_a_tokenizer_whose_words_depend_on_each_other_is_asked_for_every_text():
    whole = Tokenizer(models.WordLevel({"[UNK]": 0, "my card": 1}, unk_token="[UNK]"))
    assert Tokens(whole, 8)(["my card", "my"]) == [[1], [0]]


def test_the_memo_begins_anew_before_it_grows_without_end(monkeypatch):
    monkeypatch.setattr(module, "MOST_REMEMBERED", 3)
    tokens = Tokens(made(), 64)
    texts = [f"pay {n} cards" for n in range(20)]
    assert tokens(texts) == by_the_library(made(), texts, 64)
    assert len(tokens._memo) <= 3


def test_threads_that_fill_the_memo_at_the_same_time_read_the_same(monkeypatch):
    monkeypatch.setattr(module, "MOST_REMEMBERED", 20)
    tokens = Tokens(made(), 64)
    texts = [f"pay{n % 50} card{n % 7} {n % 30}" for n in range(2000)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda t: tokens([t])[0], texts))
    assert found == by_the_library(made(), texts, 64)


def test_special_tokens_are_written_as_nothing_and_parts_of_words_without_their_marks():
    tokens = Tokens(made(), 8)
    assert [tokens.written(VOCABULARY.index(t)) for t in ("[CLS]", "##ing", "card")] == ["", "ing", "card"]
