from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from learning.core.distill import DistillConfig, Network, distill, unit_vectors, vocabulary, write_student
from serving.encoder import EncoderError, NgramEncoder, StaticEncoder, load_encoder
from serving.encoder.grams import Units
from serving.encoder.static import Bags
from serving.encoder.tokens import Tokens
from tests.learning.core.tiny_bert import WORDS, tokenizer

TEACHER = NgramEncoder(24)
SMALL = DistillConfig(width=16, hidden=24, epochs=12, batch=32, learning_rate=1e-2)


def texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS[4:], rng.integers(2, 7))) for _ in range(n)]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer().save(str(path))
    return path


def fit(tokens, seed=0, config=SMALL, **options):
    known = texts(400)
    return distill(
        known,
        TEACHER.encode(known),
        teacher=TEACHER,
        tokenizer=tokens,
        rng=np.random.default_rng(seed),
        config=config,
        **options,
    )


@pytest.fixture(scope="module")
def student(tokens):
    return fit(tokens)


@pytest.fixture(scope="module")
def directory(student, tokens, tmp_path_factory):
    path = tmp_path_factory.mktemp("students") / "mine"
    write_student(student, path, name="mine", teacher=TEACHER, tokenizer=tokens, texts_sha256="0" * 64)
    return path


def test_the_student_imitates_its_teacher_on_texts_it_has_not_seen(directory):
    unseen = texts(200, seed=9)
    found, wanted = StaticEncoder.load(directory).encode(unseen), TEACHER.encode(unseen)
    shuffled = (found * wanted[::-1]).sum(axis=1).mean()
    assert (found * wanted).sum(axis=1).mean() > max(0.85, shuffled + 0.2)


@pytest.mark.parametrize("by_characters", [False, True])
def test_the_served_encoder_computes_what_the_trained_network_computes(tokens, tmp_path, by_characters):
    path = None if by_characters else tokens
    config = replace(SMALL, epochs=2)
    rng = np.random.default_rng(3)
    known = texts(100)
    units = Bags(np.zeros(1, np.uint64), 2, None if by_characters else Tokens(tokenizer(), 256)).units(known)
    keys = vocabulary(units, config)
    model = Network(keys, config, 24, rng)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.from_numpy(rng.normal(0, 0.2, parameter.shape).astype(np.float32))
    bag = Bags(keys, 2, None if by_characters else Tokens(tokenizer(), 256))(known)
    expected = (
        model(torch.from_numpy(bag.rows), torch.from_numpy(bag.starts), torch.ones(len(bag.rows))).detach().numpy()
    )
    from learning.core.distill import Student

    made = Student(model.folded(), config, 0.0)
    write_student(made, tmp_path / "s", name="s", teacher=TEACHER, tokenizer=path, texts_sha256="0")
    assert np.abs(StaticEncoder.load(tmp_path / "s").encode(known) - expected).max() < 2e-3  # the table is float16


def test_more_epochs_bring_it_nearer_to_its_teacher(tokens, student):
    assert student.cosine > fit(tokens, config=replace(SMALL, epochs=1)).cosine


def test_the_start_from_single_units_is_better_than_a_random_one(tokens, monkeypatch):
    short = replace(SMALL, epochs=1)
    informed = fit(tokens, config=short).cosine
    monkeypatch.setattr(Network, "begin_at", lambda *_: None)
    assert informed > fit(tokens, config=short).cosine


def test_the_same_seed_gives_the_same_student_and_the_same_identity(tokens, tmp_path):
    config = replace(SMALL, epochs=2)
    ids = [
        write_student(
            fit(tokens, 5, config), tmp_path / n, name="s", teacher=TEACHER, tokenizer=tokens, texts_sha256="0"
        )
        for n in ("a", "b")
    ]
    assert ids[0] == ids[1]


def test_it_leaves_the_global_random_state_alone(tokens):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    fit(tokens, config=replace(SMALL, epochs=1))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_progress_is_reported_per_epoch(tokens):
    seen = []
    fit(tokens, config=replace(SMALL, epochs=3), report=lambda epoch, cosine: seen.append((epoch, cosine)))
    assert [epoch for epoch, _ in seen] == [1, 2, 3]


def test_too_few_texts_are_refused(tokens):
    with pytest.raises(EncoderError, match="at least 32 texts"):
        distill(
            ["one"],
            TEACHER.encode(["one"]),
            teacher=TEACHER,
            tokenizer=tokens,
            rng=np.random.default_rng(0),
            config=SMALL,
        )


def test_longer_grams_must_occur_twice_and_single_units_once():
    units = Units.of(np.array([1, 2, 3, 1, 2, 4], np.uint64), np.array([3, 3]))
    assert len(vocabulary(units, DistillConfig())) == 4 + 1  # the units 1-4 and the pair (1, 2)
    assert len(vocabulary(units, DistillConfig(least_count=1))) == 4 + 3


def test_each_units_vector_is_the_teachers_of_the_unit_alone():
    units = Units.of(np.array([5, 4, 5, 2], np.uint64), np.array([4]))
    keys, vectors, rarity = unit_vectors(units, Tokens(tokenizer(), 256), TEACHER)
    assert np.allclose(vectors, TEACHER.encode(["", "my", "parcel"]))
    assert rarity[2] < rarity[0]
    assert set(keys) == set(vocabulary(units, DistillConfig(longest_gram=1)))


def test_the_manifest_names_the_teacher_the_texts_and_the_settings(directory):
    manifest = json.loads((directory / "encoder.json").read_text())
    assert manifest["source"]["teacher"] == TEACHER.sha256
    assert manifest["source"]["config"]["width"] == 16
    assert load_encoder(directory).sha256 == StaticEncoder.load(directory).sha256
