from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from learning.core.checkpoints import canonical_names, read_checkpoint
from serving.encoder import EncoderError
from tests.learning.core.tiny_bert import HIDDEN, POSITIONS, bert_config, bert_tensors, write_checkpoint


@pytest.fixture
def tensors():
    return bert_tensors(np.random.default_rng(0))


def test_a_plain_transformers_directory_is_mean_pooled_and_normalised(tmp_path, tensors):
    checkpoint = read_checkpoint(write_checkpoint(tmp_path / "m", tensors))
    assert (checkpoint.pooling, checkpoint.normalize, checkpoint.hidden) == ("mean", True, HIDDEN)


def test_the_pooling_folder_decides_the_pooling(tmp_path, tensors):
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    directory = write_checkpoint(tmp_path / "m", tensors, pooling=pooling, modules=["Transformer", "Pooling"])
    checkpoint = read_checkpoint(directory)
    assert (checkpoint.pooling, checkpoint.normalize) == ("cls", False)


def test_a_length_beyond_the_position_table_is_cut_to_it(tmp_path, tensors):
    directory = write_checkpoint(tmp_path / "m", tensors)
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 512}')
    assert read_checkpoint(directory).max_tokens == POSITIONS


def test_roberta_starts_its_positions_after_the_padding_row(tmp_path, tensors):
    config = bert_config(model_type="roberta", pad_token_id=1)
    checkpoint = read_checkpoint(write_checkpoint(tmp_path / "m", tensors, config=config))
    assert (checkpoint.positions_from, checkpoint.max_tokens, checkpoint.pad_id) == (2, POSITIONS - 2, 1)


def test_the_default_prompt_is_put_before_each_text(tmp_path, tensors):
    directory = write_checkpoint(tmp_path / "m", tensors)
    prompts = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    (directory / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    assert read_checkpoint(directory).prefix == "query: "


def test_the_licence_comes_from_the_model_card(tmp_path, tensors):
    directory = write_checkpoint(tmp_path / "m", tensors)
    assert read_checkpoint(directory).licence == "unknown"
    (directory / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    assert read_checkpoint(directory).licence == "apache-2.0"


def test_a_pickled_checkpoint_gives_the_same_tensors(tmp_path, tensors):
    directory = write_checkpoint(tmp_path / "m", tensors)
    expected = read_checkpoint(directory).tensors
    (directory / "model.safetensors").unlink()
    torch.save({k: torch.from_numpy(v) for k, v in tensors.items()}, directory / "pytorch_model.bin")
    found = read_checkpoint(directory).tensors
    assert all(np.array_equal(found[k], expected[k]) for k in expected)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, tensors):
    class Harmful:
        def __reduce__(self):
            return (print, ("ran",))

    directory = write_checkpoint(tmp_path / "m", tensors)
    (directory / "model.safetensors").unlink()
    torch.save({"x": Harmful()}, directory / "pytorch_model.bin")
    with pytest.raises(EncoderError, match=r"pytorch_model.bin cannot be read"):
        read_checkpoint(directory)


def test_bfloat16_weights_are_read(tmp_path, tensors):
    from safetensors.torch import save_file

    directory = write_checkpoint(tmp_path / "m", tensors)
    save_file({k: torch.from_numpy(v).bfloat16() for k, v in tensors.items()}, directory / "model.safetensors")
    found = read_checkpoint(directory).tensors["embeddings.word_embeddings.weight"]
    assert found.dtype == np.float32
    assert np.allclose(found, tensors["embeddings.word_embeddings.weight"], rtol=0.01)


def test_a_prefix_of_a_task_head_is_dropped(tensors):
    prefixed = {f"bert.{k}": v for k, v in tensors.items()}
    assert canonical_names(prefixed, "bert").keys() == tensors.keys()


def test_distilberts_names_become_berts():
    names = [
        "transformer.layer.0.attention.q_lin.weight", "transformer.layer.0.attention.out_lin.bias",
        "transformer.layer.0.sa_layer_norm.weight", "transformer.layer.0.ffn.lin2.weight",
        "transformer.layer.0.output_layer_norm.bias",
    ]  # fmt: skip
    assert list(canonical_names(dict.fromkeys(names, np.zeros(1)), "distilbert")) == [
        "encoder.layer.0.attention.self.query.weight", "encoder.layer.0.attention.output.dense.bias",
        "encoder.layer.0.attention.output.LayerNorm.weight", "encoder.layer.0.output.dense.weight",
        "encoder.layer.0.output.LayerNorm.bias",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "mpnet"}, "model_type 'mpnet'"),
        ({"model_type": None}, "model_type None"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"hidden_act": "silu"}, "hidden_act 'silu'"),
        ({"num_attention_heads": 3}, "num_attention_heads 3"),
        ({"num_hidden_layers": "six"}, "num_hidden_layers"),
        ({"num_hidden_layers": 3}, "encoder.layer.2.attention.self.query.weight"),
    ],
)
def test_what_is_not_supported_is_refused_by_its_field(tmp_path, tensors, changes, named):
    directory = write_checkpoint(tmp_path / "m", tensors, config=bert_config(**changes))
    with pytest.raises(EncoderError, match=named):
        read_checkpoint(directory)


def test_a_module_that_is_not_supported_is_named(tmp_path, tensors):
    directory = write_checkpoint(tmp_path / "m", tensors, modules=["Transformer", "Dense"])
    with pytest.raises(EncoderError, match="module Dense"):
        read_checkpoint(directory)


def test_max_pooling_is_refused_by_name(tmp_path, tensors):
    pooling = {"pooling_mode_max_tokens": True}
    directory = write_checkpoint(tmp_path / "m", tensors, pooling=pooling, modules=["Transformer", "Pooling"])
    with pytest.raises(EncoderError, match="max_tokens"):
        read_checkpoint(directory)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [("config.json", None, "config.json is missing"), ("config.json", "{", "is no JSON"), ("config.json", "[]", "JSON object"),
     ("model.safetensors", None, "holds neither"), ("model.safetensors", "x" * 100, "cannot be read")],
)  # fmt: skip
def test_a_missing_or_damaged_file_is_said_in_one_sentence(tmp_path, tensors, file, content, said):
    directory = write_checkpoint(tmp_path / "m", tensors)
    (directory / file).unlink() if content is None else (directory / file).write_text(content)
    with pytest.raises(EncoderError, match=said):
        read_checkpoint(directory)
