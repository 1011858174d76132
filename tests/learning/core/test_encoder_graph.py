from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from learning.core.checkpoints import read_checkpoint
from learning.core.encoder_export import export_encoder
from learning.core.encoder_graph import build_graph, channel_scales, quantize_columns, quantize_rows
from learning.core.encoder_source import local_source
from serving.encoder import OnnxEncoder
from tests.learning.core.bert_reference import sentence_embedding
from tests.learning.core.tiny_bert import HEADS, LAYERS, bert_config, bert_tensors, tokenizer, write_checkpoint

TEXTS = ["my parcel is late", "money back please", "where", "", "a order a order a order where is my parcel"]
WEIGHTS = arrays(np.float32, (5, 4), elements=st.floats(-4, 4, width=32))


def oracle(tensors, **options):
    encode = tokenizer().encode
    rows = [sentence_embedding(tensors, encode(t).ids, layers=LAYERS, heads=HEADS, **options) for t in TEXTS]
    return np.stack(rows)


def built(tmp_path, tensors, variant="fp32", **options):
    directory = write_checkpoint(tmp_path / "model", tensors, **options)
    export_encoder(local_source(directory), tmp_path / "built", variant=variant, name="tiny")
    return OnnxEncoder.load(tmp_path / "built")


@pytest.fixture
def tensors():
    return bert_tensors(np.random.default_rng(7))


def test_the_fp32_graph_is_the_forward_pass_of_an_independent_implementation(tmp_path, tensors):
    assert np.abs(built(tmp_path, tensors).encode(TEXTS) - oracle(tensors)).max() < 1e-5


def test_first_token_pooling_takes_the_first_token(tmp_path, tensors):
    pooling = {"pooling_mode_cls_token": True}
    encoder = built(tmp_path, tensors, pooling=pooling, modules=["Transformer", "Pooling", "Normalize"])
    assert np.abs(encoder.encode(TEXTS) - oracle(tensors, pooling="cls")).max() < 1e-5


@pytest.mark.parametrize(("act", "name"), [("relu", "relu"), ("gelu_new", "gelu_tanh")])
def test_other_activations_follow_the_config(tmp_path, tensors, act, name):
    encoder = built(tmp_path, tensors, config=bert_config(hidden_act=act))
    assert np.abs(encoder.encode(TEXTS) - oracle(tensors, activation=name)).max() < 1e-5


def test_robertas_positions_start_after_the_padding_row(tmp_path):
    tensors = bert_tensors(np.random.default_rng(3), types=False)
    encoder = built(tmp_path, tensors, config=bert_config(model_type="xlm-roberta", pad_token_id=1))
    assert np.abs(encoder.encode(TEXTS) - oracle(tensors, positions_from=2)).max() < 1e-5


def test_linear_layers_without_bias_have_none(tmp_path, tensors):
    plain = {k: v for k, v in tensors.items() if not (k.endswith(".bias") and "LayerNorm" not in k)}
    assert np.abs(built(tmp_path, plain).encode(TEXTS) - oracle(plain)).max() < 1e-5


@pytest.mark.parametrize(("variant", "least"), [("int8", 0.98), ("int8_dynamic", 0.98), ("int8_tensor", 0.97)])
def test_quantised_graphs_stay_near_the_fp32_one(tmp_path, tensors, variant, least):
    found = built(tmp_path, tensors, variant=variant).encode(TEXTS)
    assert (found * oracle(tensors)).sum(axis=1).min() > least


def test_an_int8_embedding_does_not_depend_on_its_batch(tmp_path, tensors):
    encoder = built(tmp_path, tensors, variant="int8")
    alone = np.concatenate([encoder.encode([t]) for t in TEXTS])
    assert np.abs(encoder.encode(TEXTS) - alone).max() < 1e-5


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_the_same_checkpoint_gives_the_same_bytes(tmp_path, tensors, variant):
    directory = write_checkpoint(tmp_path / "m", tensors)
    ids = [export_encoder(local_source(directory), tmp_path / n, variant=variant, name="tiny") for n in ("a", "b")]
    assert ids[0] == ids[1]
    assert (tmp_path / "a" / "model.onnx").read_bytes() == (tmp_path / "b" / "model.onnx").read_bytes()


def test_an_unknown_variant_is_refused(tmp_path, tensors):
    checkpoint = read_checkpoint(write_checkpoint(tmp_path / "m", tensors))
    with pytest.raises(ValueError, match="variant must be one of"):
        build_graph(checkpoint, "int4")


@given(weight=WEIGHTS)
def test_quantised_columns_are_off_by_at_most_half_a_step(weight):
    values, scales = quantize_columns(weight)
    assert values.dtype == np.int8
    assert np.all(np.abs(values * scales - weight) <= scales / 2 + 1e-6)


@given(table=WEIGHTS)
def test_quantised_rows_are_quantised_columns_of_the_transpose(table):
    values, scales = quantize_rows(table)
    other, others = quantize_columns(np.ascontiguousarray(table.T))
    assert np.array_equal(values, other.T)
    assert np.array_equal(scales[:, 0], others)


@given(largest=arrays(np.float32, 5, elements=st.floats(0.125, 128, width=32)), weight=WEIGHTS)
def test_every_value_seen_in_calibration_fits_into_int8(largest, weight):
    scales = channel_scales(largest, weight)
    assert np.all(largest / scales <= 127)
    assert np.all(scales > 0)
