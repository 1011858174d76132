from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from learning.core import calibration as cal
from learning.core.sentiment_tuning import Tuning, fine_tune
from serving.anchors import NEGATIVE, NEUTRAL, POSITIVE, AnchorTexts
from tests.learning.core.tiny_bert import LAYERS, bert_tensors, write_checkpoint

ANCHORS = AnchorTexts.of((("please", "late"), ("a please", "a late")), {NEUTRAL: ("where is a order", "is")})
SMALL = Tuning(layers=1, epochs=8, batch=8, rate=3e-3, head_rate=1e-2)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("bert") / "tiny", bert_tensors(np.random.default_rng(1)))


@pytest.fixture(scope="module")
def comments():
    """Praise has "money" before "parcel", blame after it: no bag of words can tell."""
    rng = np.random.default_rng(0)
    tones = rng.choice([NEGATIVE, POSITIVE], 120)
    fillers = [" ".join(rng.choice(["is", "a", "my", "order"], rng.integers(1, 5))) for _ in tones]
    pairs = {POSITIVE: "money {} parcel", NEGATIVE: "parcel {} money"}
    return [pairs[t].format(f) for t, f in zip(tones, fillers, strict=True)], tones


@pytest.fixture(scope="module")
def tuned(place, comments):
    return fine_tune(*comments, ANCHORS, directory=place, tuning=SMALL)


def test_it_learns_what_the_frozen_encoder_does_not_show(tuned, comments):
    texts, tones = comments
    assert min(tuned.losses) < tuned.losses[0] - 0.05
    p = tuned.probabilities(texts)
    assert np.allclose(p.sum(axis=1), 1)
    assert (p.argmax(axis=1) == tones).mean() > 0.9


def test_what_remains_is_the_state_with_the_least_loss(tuned, place, comments):
    wild = fine_tune(*comments, ANCHORS, directory=place, tuning=replace(SMALL, epochs=2, rate=30.0, head_rate=30.0))
    assert min(wild.losses[1:]) > wild.losses[0]
    fresh = fine_tune(*comments, ANCHORS, directory=place, tuning=replace(SMALL, epochs=0))
    assert fresh.losses == wild.losses[:1] == tuned.losses[:1]
    assert np.array_equal(wild.probabilities(comments[0]), fresh.probabilities(comments[0]))


def test_only_the_upper_layers_and_the_head_change(tuned):
    before = {k: torch.from_numpy(np.array(v)) for k, v in tuned.bert.checkpoint.tensors.items()}
    changed = {k for k, v in tuned.bert.weights.items() if k not in before or not torch.equal(v, before[k])}
    assert {k for k in changed if not k.startswith(f"encoder.layer.{LAYERS - 1}.")} == {"head.weight", "head.bias"}
    assert len(changed) > 10


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(place, comments):
    short = replace(SMALL, epochs=1)
    first, again, other = (fine_tune(*comments, ANCHORS, directory=place, tuning=short, seed=s) for s in (0, 0, 1))
    same = [torch.equal(first.bert.weights[k], again.bert.weights[k]) for k in first.bert.weights]
    assert all(same)
    assert first.losses != other.losses


def test_an_exhausted_budget_ends_it_after_one_epoch(place, comments):
    assert len(fine_tune(*comments, ANCHORS, directory=place, tuning=replace(SMALL, cpu_seconds=0)).losses) == 2


def test_the_temperature_is_the_best_one_for_the_held_back_comments(tuned, comments):
    texts, tones = comments
    back = np.random.default_rng(0).permutation(len(texts))[: int(SMALL.held_back * len(texts))]
    z = tuned.scores(tuned.bert.below([texts[i] for i in back], tuned.first))
    losses = [
        -np.sum(cal.platt_targets(tones[back], 3) * cal.log_softmax(z / (tuned.temperature * f))) for f in (0.9, 1, 1.1)
    ]
    assert losses[1] == min(losses)
