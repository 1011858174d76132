from __future__ import annotations

import numpy as np
import pytest
import torch

from learning.core.checkpoints import read_checkpoint
from learning.core.trainable_bert import TrainableBert, dropout
from tests.learning.core.bert_reference import sentence_embedding
from tests.learning.core.tiny_bert import HEADS, LAYERS, bert_config, bert_tensors, tokenizer, write_checkpoint

TEXTS = ["my parcel is late", "where is my order please", "", "money back", "a " * 60]


@pytest.mark.parametrize("first", [0, 1, LAYERS])
@pytest.mark.parametrize(("activation", "types"), [("gelu", True), ("gelu_new", True), ("relu", False)])
def test_its_vectors_are_those_of_a_plain_forward_pass_wherever_it_is_cut(tmp_path, first, activation, types):
    tensors = bert_tensors(np.random.default_rng(3), types=types)
    bert = TrainableBert(
        write_checkpoint(tmp_path / "m", tensors, config=bert_config(hidden_act=activation)), max_tokens=20
    )
    found = bert.vectors(bert.below(TEXTS, first), first)
    ids = [tokenizer().encode(t).ids for t in TEXTS]
    ids = [i if len(i) <= 20 else [*i[:19], i[-1]] for i in ids]
    name = bert.checkpoint.activation
    expected = [sentence_embedding(tensors, i, layers=LAYERS, heads=HEADS, activation=name) for i in ids]
    assert np.abs(found - np.array(expected)).max() < 1e-5


def test_first_token_pooling_is_followed(tmp_path):
    tensors = bert_tensors(np.random.default_rng(3))
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    place = write_checkpoint(tmp_path / "m", tensors, modules=["Transformer", "Pooling"], pooling=pooling)
    assert read_checkpoint(place).pooling == "cls"
    bert = TrainableBert(place, max_tokens=20)
    ids = tokenizer().encode(TEXTS[0]).ids
    expected = sentence_embedding(tensors, ids, layers=LAYERS, heads=HEADS, pooling="cls")
    assert np.abs(bert.vectors(bert.below(TEXTS[:1], 0), 0)[0] - expected).max() < 1e-5


def test_dropout_keeps_the_mean_and_repeats_with_its_generator():
    ones = torch.ones(200, 200)
    first, again = (dropout(0.25, torch.Generator().manual_seed(1))(ones) for _ in range(2))
    assert torch.equal(first, again)
    assert abs(float(first.mean()) - 1) < 0.02
    assert abs(float((first == 0).float().mean()) - 0.25) < 0.02
