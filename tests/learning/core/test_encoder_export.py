from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from learning.core.encoder_export import export_encoder
from learning.core.encoder_source import LEAST_COSINE, local_source
from serving.encoder import EncoderError, OnnxEncoder
from serving.encoder.manifest import sha256_of_file
from tests.learning.core.tiny_bert import HIDDEN, bert_config, bert_tensors, write_checkpoint


@pytest.fixture
def source(tmp_path):
    return local_source(write_checkpoint(tmp_path / "tiny-bert", bert_tensors(np.random.default_rng(1))))


def test_the_directory_holds_the_graph_the_tokenizer_and_a_manifest_with_their_hashes(tmp_path, source):
    sha256 = export_encoder(source, tmp_path / "out", variant="int8", name="mine")
    manifest = json.loads((tmp_path / "out" / "encoder.json").read_text())
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"model.onnx", "tokenizer.json", "encoder.json"}
    assert manifest["files"] == {n: sha256_of_file(tmp_path / "out" / n) for n in ("model.onnx", "tokenizer.json")}
    assert (manifest["name"], manifest["variant"], manifest["dim"], manifest["lowercase"]) == (
        "mine",
        "int8",
        HIDDEN,
        True,
    )
    assert manifest["source"]["model"] == "tiny-bert"
    assert OnnxEncoder.load(tmp_path / "out").sha256 == sha256


def test_another_variant_is_another_encoder(tmp_path, source):
    ids = {export_encoder(source, tmp_path / v, variant=v, name="mine") for v in ("fp32", "int8")}
    assert len(ids) == 2


def test_an_encoder_in_the_way_is_replaced_whole(tmp_path, source):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "left-over").write_text("x")
    export_encoder(source, tmp_path / "out", variant="fp32", name="mine")
    assert not (tmp_path / "out" / "left-over").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"tiny-bert", "out"}


def test_a_failed_build_leaves_the_old_encoder_and_nothing_else(tmp_path, source):
    export_encoder(source, tmp_path / "out", variant="fp32", name="mine")
    before = (tmp_path / "out" / "encoder.json").read_bytes()
    (source.directory / "config.json").write_text(json.dumps(bert_config(model_type="t5")))
    with pytest.raises(EncoderError, match="model_type 't5'"):
        export_encoder(source, tmp_path / "out", variant="fp32", name="mine")
    assert (tmp_path / "out" / "encoder.json").read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"tiny-bert", "out"}


def test_embeddings_that_differ_from_the_stored_ones_are_refused(tmp_path, source):
    export_encoder(source, tmp_path / "good", variant="fp32", name="mine")
    texts = ["my parcel", "late"]
    rows = OnnxEncoder.load(tmp_path / "good").encode(texts)
    references = tmp_path / "references.json"
    references.write_text(json.dumps({"texts": texts, "embeddings": rows.round(4).tolist()}))
    checked = replace(source, references=references)
    export_encoder(checked, tmp_path / "same", variant="fp32", name="mine")
    references.write_text(json.dumps({"texts": texts, "embeddings": rows[::-1].round(4).tolist()}))
    with pytest.raises(EncoderError, match="stored reference embeddings"):
        export_encoder(checked, tmp_path / "other", variant="fp32", name="mine")
    assert not (tmp_path / "other").exists()


def test_a_checkpoint_that_does_not_survive_quantisation_is_refused_with_the_way_out(tmp_path, source, monkeypatch):
    monkeypatch.setitem(LEAST_COSINE, "int8", 1.01)
    with pytest.raises(EncoderError, match="--variant fp32"):
        export_encoder(source, tmp_path / "out", variant="int8", name="mine")
    assert export_encoder(source, tmp_path / "out", variant="fp32", name="mine")


def test_damaged_weights_are_refused(tmp_path):
    tensors = bert_tensors(np.random.default_rng(1))
    tensors["encoder.layer.0.output.dense.weight"][:] = np.nan
    source = local_source(write_checkpoint(tmp_path / "nan", tensors))
    with pytest.raises(EncoderError, match="weights are damaged"):
        export_encoder(source, tmp_path / "out", variant="fp32", name="mine")


def test_a_directory_without_fast_tokenizer_is_refused(tmp_path, source):
    (source.directory / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match=r"tokenizer.json is missing"):
        export_encoder(source, tmp_path / "out", variant="fp32", name="mine")


def test_progress_is_said_line_by_line(tmp_path, source):
    lines: list[str] = []
    export_encoder(source, tmp_path / "out", variant="fp32", name="mine", report=lines.append)
    assert [line.split()[0] for line in lines] == ["reading", "writing", "checking"]


def test_a_path_that_is_no_directory_is_refused(tmp_path):
    with pytest.raises(EncoderError, match="is not a directory"):
        local_source(tmp_path / "nowhere")
