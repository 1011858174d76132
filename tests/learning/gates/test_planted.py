"""Planted bad models: each is stopped by the gate that is meant for it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from learning.core.encoder_graph import quantize_columns
from learning.core.heads.training import train_heads
from learning.gates import artifact
from learning.gates.evidence import Judged, Labeled
from learning.gates.judge import GATES, judge
from learning.sample.grammar import generate
from serving.artifacts import CorruptBundle, load_bundle, write_bundle
from serving.encoder import Encoder, load_encoder
from serving.encoder.catalogue import DEFAULT_ENGLISH, encoder_directory
from serving.encoder.manifest import sha256_of_file
from serving.head import BIAS, GRAPH, WEIGHTS, npy_bytes
from tests.learning.gates.world import KEYS, data, evidence, failed, good, served, trained_on


def test_a_sound_model_passes_every_gate() -> None:
    results = judge(evidence())
    assert [r.name for r in results if not r.passed] == []
    assert len(results) == len(GATES) == 16
    assert all(r.detail for r in results)


def test_shuffled_labels_are_stopped_by_the_accuracy() -> None:
    train, _ = data()
    bad = trained_on(train.x, list(np.random.default_rng(0).permutation(list(train.keys))))
    assert "accuracy" in failed(evidence(bad))


def test_one_broken_category_is_stopped_by_its_floor_although_the_average_hardly_moves() -> None:
    keys = list(KEYS)
    bias = good().bias.copy()
    bias[keys.index("c3")] = -50.0
    broken = replace(good(), bias=bias)
    _, test = data()
    rest = np.array([k != "c3" for k in test.keys])
    few = np.array([k == "c3" for k in test.keys]).cumsum() <= 12
    mostly_others = test.only(rest | few)
    found = {r.name: r for r in judge(evidence(broken, test=mostly_others))}
    assert not found["categories"].passed
    assert "c3" in found["categories"].detail


def with_wrong_tokenizer(directory: Path) -> Encoder:
    """The installed MiniLM with the tokenizer of another vocabulary; its manifest is in order."""
    shutil.copytree(encoder_directory(Path(os.environ["ENSO_ENCODERS"]) / DEFAULT_ENGLISH), directory)
    path = directory / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    words = [w for w in vocabulary if not w.startswith("[")]
    numbers = [vocabulary[w] for w in words]
    vocabulary.update(zip(words, numbers[1000:] + numbers[:1000], strict=True))
    path.write_text(json.dumps(tokenizer))
    manifest = json.loads((directory / "encoder.json").read_text())
    manifest["files"]["tokenizer.json"] = sha256_of_file(path)
    (directory / "encoder.json").write_text(json.dumps(manifest))
    return load_encoder(directory)


def test_a_wrong_tokenizer_is_stopped_by_the_encoder_gate(tmp_path: Path) -> None:
    right = load_encoder(Path(os.environ["ENSO_ENCODERS"]) / DEFAULT_ENGLISH)
    rows = list(generate(160, seed=3, locale="en"))
    texts, keys = [t for t, _ in rows], [k for _, k in rows]
    x, names = right.encode(texts), sorted(set(keys))
    head = train_heads(x[:100], np.array([names.index(k) for k in keys[:100]]), categories=names, random_features=32)
    groups = [str(i) for i in range(160)]
    known = Labeled(x[100:], keys[100:], groups[100:], texts[100:])
    given = evidence(
        head, head=served(head, categories=names), trained=Judged("as trained", names, lambda z: head.probabilities(z)),
        train=Labeled(x[:100], keys[:100], groups[:100]), test=known, serving=Judged("same", names, lambda z: head.probabilities(z)),
    )  # fmt: skip
    assert "encoder" not in failed(replace(given, encode=right.encode))
    assert "encoder" in failed(replace(given, encode=with_wrong_tokenizer(tmp_path / "wrong").encode))


def test_a_truncated_file_is_stopped_before_anything_is_served(tmp_path: Path) -> None:
    bundle = write_bundle(
        tmp_path,
        {GRAPH: b"graph", WEIGHTS: npy_bytes(good().weights), BIAS: npy_bytes(good().bias)},
        {"kind": "ridge", "categories": list(KEYS)},
    )
    path = bundle.path / WEIGHTS
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(CorruptBundle, match=r"weights\.npy"):
        load_bundle(bundle.path, bundle.sha256)


def test_int8_with_one_scale_per_tensor_is_stopped_by_the_parity() -> None:
    values, scales = quantize_columns(good().weights.astype(np.float32), per_tensor=True)
    quantised = served(good(), weights=values.astype(np.float32) * scales)
    assert "parity" in failed(replace(evidence(), head=quantised))


@pytest.mark.parametrize(("undecided", "stopped"), [(0.4, False), (0.6, True), (1.0, True)])
def test_a_head_that_rounding_decides_for_most_texts_is_not_taken_for_equal(undecided: float, stopped: bool) -> None:
    given = evidence()
    trained = replace(given.trained, undecided=lambda x: np.arange(len(x)) < undecided * len(x))
    assert ("parity" in failed(replace(given, trained=trained))) is stopped


def test_without_any_labeled_text_there_is_nothing_to_compare_and_nothing_to_stop() -> None:
    given = evidence()
    nothing = Labeled(given.train.x[:0], [], [])
    bare = replace(given, train=nothing, test=nothing, trained=replace(given.trained, undecided=lambda x: x[:, 0] > 2))
    assert artifact.parity(bare).passed
    some = replace(given, trained=replace(given.trained, undecided=lambda x: np.ones(len(x), bool)))
    assert artifact.parity(some).detail.startswith("only 0 of ")


def test_leaked_test_rows_are_stopped_by_the_leakage_gate() -> None:
    train, test = data()
    leaked = Labeled(
        np.concatenate([train.x, test.x[:20]]), [*train.keys, *test.keys[:20]], [*train.groups, *test.groups[:20]]
    )
    assert failed(evidence(train=leaked)) == {"leakage"}


def test_test_rows_that_were_stored_again_are_found_by_their_embedding() -> None:
    train, test = data()
    again = Labeled(
        np.concatenate([train.x, test.x]),
        [*train.keys, *test.keys],
        [*train.groups, *(f"copy {g}" for g in test.groups)],
    )
    assert "leakage" in failed(evidence(train=again))


def test_a_model_that_is_too_sure_is_stopped_by_the_calibration() -> None:
    bold = replace(good(), temperature=good().temperature / 30)
    assert "calibration" in failed(evidence(bold))


def test_a_model_that_answers_with_one_category_is_stopped_by_the_distribution() -> None:
    bias = good().bias.copy()
    bias[0] = 50.0
    assert "prediction distribution" in failed(evidence(replace(good(), bias=bias)))


def test_a_first_model_may_answer_otherwise_than_category_texts_but_not_with_one_category() -> None:
    """Category texts that lean towards one category are no measure of balance."""
    leaning, bias = good().bias.copy(), good().bias.copy()
    leaning[0], bias[0] = 4.0, 50.0
    texts, test = Judged.of("category-texts", served(replace(good(), bias=leaning))), data()[1]
    unlabeled = {"test": test.only(np.arange(len(test)) < 5), "pool": test.x}
    assert "prediction distribution" in failed(evidence(serving=texts, **unlabeled))
    first = {"serving": replace(texts, learned=False), **unlabeled}
    assert "prediction distribution" not in failed(evidence(**first))
    assert "prediction distribution" in failed(evidence(replace(good(), bias=bias), **first))


def test_what_a_past_version_knew_must_not_be_forgotten() -> None:
    train, test = data()
    bad = trained_on(train.x, list(np.random.default_rng(0).permutation(list(train.keys))))
    past = {"v1": (Judged.of("v1", served(good())), test)}
    assert "forgetting" in failed(evidence(bad, past=past))
    assert "forgetting" not in failed(evidence(past=past))


def test_a_slice_that_is_answered_worse_is_stopped() -> None:
    _, test = data()
    slow = np.arange(len(test)) % 3 == 0
    x = test.x.copy()
    x[slow] = np.roll(x[slow], 7, axis=1)
    worse = evidence(test=replace(test, x=x), slices={"locale=ja": slow})
    fine = Judged(
        "v1", KEYS, lambda rows: np.eye(len(KEYS), dtype=np.float32)[[KEYS.index(k) for k in test.keys[: len(rows)]]]
    )
    found = {r.name: r for r in judge(replace(worse, serving=fine))}
    assert not found["fairness"].passed
    assert "locale=ja" in found["fairness"].detail
