from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import encoder, harness
from serving.encoder import NgramEncoder


def test_rates_and_latencies_are_positive_and_named_as_the_contract_names_them():
    texts = [f"where is parcel {i}" for i in range(40)]
    rows = encoder.timed({"a": NgramEncoder(64), "b": NgramEncoder(32)}, texts, rounds=1, seed=0)
    for row in rows.values():
        assert set(row) == {"texts_per_cpu_s_b1", "texts_per_cpu_s_b64", "p50_ms", "p95_ms"}
        assert min(row.values()) > 0
        assert row["p50_ms"] <= row["p95_ms"]


def test_a_run_on_the_projects_own_corpus_writes_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ENSO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(encoder, "open_encoder", lambda _: NgramEncoder(64))  # small heads: the run is what is tested
    monkeypatch.setattr(
        sys, "argv", ["encoder.py", "--quick", "--encoders", "ngram", "--json", str(tmp_path / "r.json")]
    )
    encoder.main()
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["encoders"]["ngram"]["accuracy"] > 0.5
    assert report["encoders"]["ngram"]["size_mb"] == 0
    assert "ngram" in capsys.readouterr().out


def test_a_student_is_compared_with_its_encoder_by_the_same_kind_of_head():
    corpus, rows = harness.load_corpus(None, seed=0, size=400), {}
    for name, width in ((encoder.AVERAGED, 64), (encoder.STUDENT, 16)):
        rows |= encoder.judged(name, NgramEncoder(width), corpus, {}, seed=0)
    found = encoder.gaps(rows)
    assert set(found) == {"logistic", "ridge", "averaged"}
    assert found["ridge"] == rows["int8+ridge"]["accuracy"] - rows["student+ridge"]["accuracy"]
    assert min(found.values()) > 0  # a quarter of the width tells less apart, whatever reads it


def test_without_a_student_there_is_nothing_to_compare():
    assert encoder.gaps({encoder.AVERAGED: {"accuracy": 0.9}}) == {}


def test_accuracy_is_the_share_of_right_answers():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    assert encoder.accuracy(p, np.array([0, 1, 1, 1])) == pytest.approx(0.75)


def test_benchmarks_start_without_django():
    """They are programs: what they import must not ask for settings."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.encoder", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
