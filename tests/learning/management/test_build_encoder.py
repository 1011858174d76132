from __future__ import annotations

import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from serving.encoder import load_encoder
from tests.learning.core.tiny_bert import bert_tensors, write_checkpoint

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("ENSO_HOME", str(tmp_path / "home"))
    return write_checkpoint(tmp_path / "tiny-bert", bert_tensors(np.random.default_rng(1)))


def run(*args: object) -> str:
    out = StringIO()
    call_command("build_encoder", *map(str, args), stdout=out)
    return out.getvalue()


def test_a_local_model_is_built_under_its_name_and_can_be_loaded_by_it(model, tmp_path):
    said = run("--from", model)
    assert "tiny-bert-int8 is built at" in said
    assert load_encoder("tiny-bert-int8").encode(["my parcel"]).shape == (1, 16)


def test_a_second_run_changes_nothing_and_says_so(model, tmp_path):
    run("--from", model, "--name", "mine")
    manifest = tmp_path / "home" / "encoders" / "mine" / "encoder.json"
    before = manifest.stat().st_mtime_ns
    assert "mine is already built" in run("--from", model, "--name", "mine")
    assert manifest.stat().st_mtime_ns == before


def test_force_builds_the_same_encoder_again(model, tmp_path):
    run("--from", model, "--name", "mine")
    sha256 = load_encoder("mine").sha256
    assert "is built at" in run("--from", model, "--name", "mine", "--force")
    assert load_encoder("mine").sha256 == sha256


def test_a_damaged_encoder_is_built_again(model, tmp_path):
    run("--from", model, "--name", "mine")
    (tmp_path / "home" / "encoders" / "mine" / "model.onnx").write_bytes(b"damaged")
    assert "is built at" in run("--from", model, "--name", "mine")
    assert load_encoder("mine").dim == 16


def test_output_and_variant_can_be_chosen(model, tmp_path):
    run("--from", model, "--output", tmp_path / "elsewhere", "--variant", "fp32")
    assert load_encoder(tmp_path / "elsewhere").name == "tiny-bert-fp32"


def test_an_unsupported_model_ends_the_command_with_a_sentence(model):
    (model / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(CommandError, match="model_type 'gpt2' is not supported"):
        run("--from", model)


def test_a_directory_that_is_not_there_ends_the_command_with_a_sentence(tmp_path):
    with pytest.raises(CommandError, match="is not a directory"):
        run("--from", tmp_path / "nowhere")


def test_the_command_does_not_import_onnx_until_it_builds():
    code = "import sys, learning.management.commands.build_encoder; print({'onnx', 'safetensors', 'torch'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
