from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.encoder_export import export_encoder
from learning.core.encoder_source import local_source
from serving.encoder import Encoder, EncoderError, OnnxEncoder
from tests.learning.core.tiny_bert import WORDS, bert_tensors, write_checkpoint

TEXTS = st.lists(st.text(max_size=40) | st.lists(st.sampled_from(WORDS[4:]), max_size=60).map(" ".join), max_size=8)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    root = tmp_path_factory.mktemp("transformer")
    source = local_source(write_checkpoint(root / "model", bert_tensors(np.random.default_rng(5))))
    export_encoder(source, root / "built", variant="fp32", name="tiny")
    return root / "built"


@pytest.fixture(scope="module")
def encoder(directory):
    return OnnxEncoder.load(directory)


@pytest.fixture
def copy(directory, tmp_path):
    for file in directory.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_it_is_an_encoder(encoder):
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.dim, len(encoder.sha256)) == ("tiny", 16, 64)


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode([]).shape == (0, 16)


@settings(max_examples=40, deadline=None)
@given(texts=TEXTS)
def test_every_text_gets_a_unit_row_of_float32(encoder, texts):
    rows = encoder.encode(texts)
    assert rows.shape == (len(texts), 16)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(texts=TEXTS, data=st.data())
def test_a_row_depends_neither_on_the_order_nor_on_the_other_texts(encoder, texts, data):
    order = data.draw(st.permutations(range(len(texts))))
    rows = encoder.encode(texts)
    assert np.allclose(encoder.encode([texts[i] for i in order]), rows[list(order)], atol=1e-5)
    for text, row in zip(texts, rows, strict=True):
        assert np.allclose(encoder.encode([text])[0], row, atol=1e-5)


def test_more_texts_than_a_batch_keep_their_order(encoder):
    texts = [" ".join(WORDS[4 : 5 + i % 9]) for i in range(150)]
    rows = encoder.encode(texts)
    assert np.allclose(rows[140], encoder.encode([texts[140]])[0], atol=1e-5)


def test_what_lies_beyond_the_last_token_does_not_count(encoder):
    long = "parcel " * 60
    assert np.allclose(encoder.encode([long + "late"]), encoder.encode([long + "money"]))


def test_a_lone_surrogate_is_read_as_a_question_mark(encoder):
    assert np.allclose(encoder.encode(["parcel \ud800"]), encoder.encode(["parcel ?"]))


def test_threads_may_share_it(encoder):
    texts = [f"{a} {b}" for a in WORDS[4:] for b in WORDS[4:]]
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda t: encoder.encode([t])[0], texts))
    assert np.allclose(np.stack(rows), encoder.encode(texts), atol=1e-5)


def test_the_prefix_is_put_before_each_text(copy):
    plain = OnnxEncoder.load(copy).encode(["please money"])
    manifest = json.loads((copy / "encoder.json").read_text())
    (copy / "encoder.json").write_text(json.dumps(manifest | {"prefix": "please "}))
    assert np.allclose(OnnxEncoder.load(copy).encode(["money"]), plain)


def test_the_identity_changes_with_the_preprocessing(copy):
    before = OnnxEncoder.load(copy).sha256
    manifest = json.loads((copy / "encoder.json").read_text())
    (copy / "encoder.json").write_text(json.dumps(manifest | {"max_tokens": 7}))
    assert OnnxEncoder.load(copy).sha256 != before


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
def test_a_changed_file_is_refused(copy, file):
    with (copy / file).open("ab") as handle:
        handle.write(b" ")
    with pytest.raises(EncoderError, match=f"{file} .* does not match its sha256"):
        OnnxEncoder.load(copy)


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
def test_a_missing_file_is_named(copy, file):
    (copy / file).unlink()
    with pytest.raises(EncoderError, match=f"lacks {file}"):
        OnnxEncoder.load(copy)


def test_a_missing_encoder_says_how_to_build_it(tmp_path):
    with pytest.raises(EncoderError, match=r"manage\.py build_encoder"):
        OnnxEncoder.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "unreadable encoder.json"),
        ("[]", "format 'list'"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1}', "lacks dim"),
    ],
)
def test_a_broken_manifest_is_refused(copy, content, said):
    (copy / "encoder.json").write_text(content)
    with pytest.raises(EncoderError, match=said):
        OnnxEncoder.load(copy)


def test_a_graph_that_is_none_is_refused_although_its_hash_is_right(copy):
    from serving.encoder.manifest import sha256_of_file

    (copy / "model.onnx").write_bytes(b"no graph")
    manifest = json.loads((copy / "encoder.json").read_text())
    manifest["files"]["model.onnx"] = sha256_of_file(copy / "model.onnx")
    (copy / "encoder.json").write_text(json.dumps(manifest))
    with pytest.raises(EncoderError, match="cannot be opened"):
        OnnxEncoder.load(copy)
