from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.distill import DistillConfig, distill, write_student
from serving.encoder import Encoder, EncoderError, NgramEncoder, StaticEncoder, load_encoder
from serving.encoder.static import Bag, Bags, layer_normalized, sums
from serving.encoder.tokens import Tokens
from tests.learning.core.tiny_bert import WORDS, tokenizer

TEXTS = st.lists(st.text(max_size=30) | st.lists(st.sampled_from(WORDS[4:]), max_size=8).map(" ".join), max_size=6)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    root = tmp_path_factory.mktemp("static")
    tokenizer().save(str(root / "tokenizer.json"))
    texts = [f"{a} {b} {c}" for a in WORDS[4:9] for b in WORDS[4:9] for c in WORDS[4:9]]
    teacher = NgramEncoder(12)
    config = DistillConfig(width=8, hidden=8, epochs=1, batch=32)
    student = distill(
        texts,
        teacher.encode(texts),
        teacher=teacher,
        tokenizer=root / "tokenizer.json",
        rng=np.random.default_rng(0),
        config=config,
    )
    write_student(student, root / "s", name="s", teacher=teacher, tokenizer=root / "tokenizer.json", texts_sha256="0")
    return root / "s"


@pytest.fixture(scope="module")
def encoder(directory):
    return StaticEncoder.load(directory)


def test_it_is_an_encoder_and_is_opened_by_its_kind(encoder, directory):
    assert isinstance(encoder, Encoder)
    assert isinstance(load_encoder(directory), StaticEncoder)


@settings(max_examples=40, deadline=None)
@given(texts=TEXTS)
def test_every_text_gets_a_unit_row_that_does_not_depend_on_the_others(encoder, texts):
    rows = encoder.encode(texts)
    assert rows.shape == (len(texts), 12)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    for text, row in zip(texts, rows, strict=True):
        assert np.allclose(encoder.encode([text])[0], row, atol=1e-5)


def test_more_texts_than_a_batch_keep_their_order(encoder):
    texts = [" ".join(WORDS[4 : 5 + i % 6]) for i in range(150)]
    assert np.allclose(encoder.encode(texts)[149], encoder.encode([texts[149]])[0], atol=1e-5)


def test_the_known_share_falls_with_every_unknown_word(encoder):
    _, shares = encoder.encode_with_known_share(["my parcel is", "my parcel quux", "quux quux quux", ""])
    assert shares[0] == 1
    assert 0 < shares[1] < 1
    assert shares[2] < shares[1]


def test_vectors_with_and_without_shares_are_the_same(encoder):
    texts = ["my parcel", "late"] * 50
    assert np.array_equal(encoder.encode_with_known_share(texts)[0], encoder.encode(texts))
    assert encoder.encode_with_known_share([])[0].shape == (0, 12)


def test_a_bag_holds_each_known_gram_of_each_text_once_per_occurrence():
    made = Tokens(tokenizer(), 256)
    keys = Bags(np.zeros(1, np.uint64), 2, made)
    units = keys.units(["my my"])
    from learning.core.distill import vocabulary

    vocab = vocabulary(units, DistillConfig(least_count=1))
    bag = Bags(vocab, 2, made)(["my my", "late", "my"])
    # [CLS] my my [SEP]: four units and three pairs; "late" is unknown, and so are its pairs.
    assert bag.total.tolist() == [7, 5, 5]
    assert bag.known.tolist() == [7, 2, 5]
    assert bag.starts.tolist() == [0, 7, 9]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=5), min_size=1, max_size=6))
def test_sums_are_the_sums_of_each_texts_rows(bags):
    table = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float16)
    known = np.array([len(b) for b in bags])
    bag = Bag(np.array([i for b in bags for i in b], np.int64), np.cumsum(known) - known, known, known)
    expected = [table[b].astype(np.float32).sum(axis=0) if b else np.zeros(3) for b in bags]
    assert np.allclose(sums(table, bag), np.stack(expected), atol=1e-5)


def test_normalised_rows_have_mean_zero_and_variance_one():
    rows = layer_normalized(np.random.default_rng(0).normal(3, 5, (4, 64)).astype(np.float32))
    assert np.allclose(rows.mean(axis=1), 0, atol=1e-5)
    assert np.allclose(rows.var(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("file", ["weights.npz", "tokenizer.json"])
def test_a_changed_file_is_refused(directory, tmp_path, file):
    for path in directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes() + b" ")
    with pytest.raises(EncoderError, match="does not match its sha256"):
        load_encoder(tmp_path)


def test_weights_that_are_none_are_refused_although_their_hash_is_right(directory, tmp_path):
    from serving.encoder.manifest import sha256_of_file

    for path in directory.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "weights.npz").write_bytes(b"no weights")
    manifest = json.loads((tmp_path / "encoder.json").read_text())
    manifest["files"]["weights.npz"] = sha256_of_file(tmp_path / "weights.npz")
    (tmp_path / "encoder.json").write_text(json.dumps(manifest))
    with pytest.raises(EncoderError, match="cannot be opened"):
        load_encoder(tmp_path)


def test_an_unknown_kind_is_refused(directory, tmp_path):
    manifest = json.loads((directory / "encoder.json").read_text())
    (tmp_path / "encoder.json").write_text(json.dumps(manifest | {"kind": "oracle"}))
    with pytest.raises(EncoderError, match="unknown kind 'oracle'"):
        load_encoder(tmp_path)
