from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serving.encoder import EncoderError, NgramEncoder, encoder_directory, enso_home, load_encoder

REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_home_is_beside_the_sources_unless_the_environment_names_another(monkeypatch, tmp_path):
    monkeypatch.delenv("ENSO_HOME", raising=False)
    assert enso_home() == REPOSITORY / ".enso"
    monkeypatch.setenv("ENSO_HOME", str(tmp_path))
    assert enso_home() == tmp_path


def test_a_bare_name_is_looked_up_under_home_and_a_path_is_a_path(monkeypatch, tmp_path):
    monkeypatch.setenv("ENSO_HOME", str(tmp_path))
    assert encoder_directory("mine") == tmp_path / "encoders" / "mine"
    assert encoder_directory(tmp_path / "mine") == tmp_path / "mine"


def test_the_ngram_encoder_needs_no_files(monkeypatch, tmp_path):
    monkeypatch.setenv("ENSO_HOME", str(tmp_path))
    assert load_encoder("ngram").sha256 == NgramEncoder().sha256


def test_an_encoder_that_is_not_built_says_how_to_build_it(monkeypatch, tmp_path):
    monkeypatch.setenv("ENSO_HOME", str(tmp_path))
    with pytest.raises(EncoderError, match=r"manage\.py build_encoder"):
        load_encoder("nowhere")


def test_serving_an_encoder_needs_no_training_library():
    code = (
        "import sys, serving.encoder; "
        "print({'torch', 'onnx', 'sklearn', 'scipy', 'pandas', 'transformers', 'django', 'safetensors'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
