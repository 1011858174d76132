from __future__ import annotations

import subprocess
import sys
import unicodedata
from collections import Counter
from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.encoder import Encoder, NgramEncoder

ENCODER = NgramEncoder(64)
TEXTS = st.lists(st.text(max_size=30), max_size=6)
MASK = 2**64 - 1


def mixed(h: int) -> int:
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & MASK
    return h ^ (h >> 31)


def by_the_book(text: str, dim: int, weights: tuple[float, ...] = (1.6, 1.0, 0.5), spread: int = 2) -> np.ndarray:
    """The definition, one n-gram at a time with Python's integers."""
    plain = f" {' '.join(unicodedata.normalize('NFKC', text).lower().split())} "
    plain = "".join("0" if c in "0123456789" else c for c in plain)
    row = np.zeros(dim)
    for n, weight in enumerate(weights, 1):
        grams = Counter(plain[i : i + n] for i in range(len(plain) - n + 1))
        for gram, count in grams.items():
            if gram == " ":
                continue
            h = 0
            for c in gram:
                h = mixed(((h + 0x9E3779B97F4A7C15) * 0x9E3779B97F4A7C15 + ord(c)) & MASK)
            for turn in range(1, spread + 1):
                bits = mixed((h + 0x9E3779B97F4A7C15 * turn) & MASK)
                row[(bits >> 32) % dim] += (1 - 2 * (bits & 1)) * weight * (1 + log(count))
    return row / np.linalg.norm(row)


def test_it_is_an_encoder():
    assert isinstance(ENCODER, Encoder)
    assert NgramEncoder().name == "ngram"


def test_no_texts_give_no_rows():
    assert ENCODER.encode([]).shape == (0, 64)


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_a_row_is_the_definition_computed_one_gram_at_a_time(text):
    expected = by_the_book(text, 257)
    assert np.allclose(NgramEncoder(257).encode([text])[0], expected, atol=1e-6)


@pytest.mark.parametrize("text", ["返金してください", "my parcel is late late", "注文 4711", "aaaa"])
def test_known_texts_follow_the_definition(text):
    assert np.allclose(NgramEncoder().encode([text])[0], by_the_book(text, 1024), atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(texts=TEXTS)
def test_every_text_gets_a_unit_row_of_float32(texts):
    rows = ENCODER.encode(texts)
    assert rows.shape == (len(texts), 64)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(texts=TEXTS)
def test_a_row_is_the_same_alone_and_in_any_batch(texts):
    rows = ENCODER.encode(texts)
    for text, row in zip(texts, rows, strict=True):
        assert np.array_equal(ENCODER.encode([text])[0], row)


def test_many_texts_are_the_same_as_few():
    texts = [f"注文番号{i}の返金" * (1 + i % 3) for i in range(600)]
    assert np.array_equal(ENCODER.encode(texts)[500:], ENCODER.encode(texts[500:]))


def test_width_case_and_spacing_do_not_matter():
    rows = ENCODER.encode(["ＡＢＣ　ｶﾒﾗ", " abc  カメラ\n"])
    assert np.array_equal(rows[0], rows[1])


def test_which_order_number_it_is_does_not_matter_but_that_there_is_one_does():
    rows = ENCODER.encode(["注文1234", "注文9876", "注文"])
    assert np.array_equal(rows[0], rows[1])
    assert not np.allclose(rows[0], rows[2])


def test_texts_that_share_words_are_nearer():
    x = NgramEncoder().encode(["返金してください", "返金はいつですか", "住所を変更したい"])
    assert x[0] @ x[1] > x[0] @ x[2] + 0.1


def test_another_process_gives_the_same_rows_whatever_its_hash_seed():
    code = "from serving.encoder import NgramEncoder; print(NgramEncoder(8).encode(['返金', 'late']).tobytes().hex())"
    root = Path(__file__).resolve().parents[3]
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env={"PYTHONHASHSEED": s},
            capture_output=True,
            text=True,
            check=True,
        )
        for s in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout == NgramEncoder(8).encode(["返金", "late"]).tobytes().hex() + "\n"


def test_the_identity_covers_every_parameter():
    ids = [NgramEncoder(64), NgramEncoder(65), NgramEncoder(64, weights=(1.0,)), NgramEncoder(64, spread=3)]
    assert len({e.sha256 for e in ids}) == 4
    assert NgramEncoder(64).sha256 == ids[0].sha256


@pytest.mark.parametrize("options", [{"dim": 1}, {"spread": 0}, {"weights": ()}])
def test_senseless_parameters_are_refused(options):
    with pytest.raises(ValueError, match="must"):
        NgramEncoder(**options)
