from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from learning.core import calibration as cal
from learning.core.heads.folds import stratified_folds
from learning.core.sentiment_tuning import Rated, Tuning, fine_tune
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
    return Rated.plain([pairs[t].format(f) for t, f in zip(tones, fillers, strict=True)], tones)


@pytest.fixture(scope="module")
def tuned(place, comments):
    return fine_tune(comments, ANCHORS, directory=place, tuning=SMALL)


def test_it_learns_what_the_frozen_encoder_does_not_show(tuned, comments):
    assert min(tuned.losses) < tuned.losses[0] - 0.05
    p = tuned.probabilities(comments.texts)
    assert np.allclose(p.sum(axis=1), 1)
    assert (p.argmax(axis=1) == comments.tones).mean() > 0.9


def held_back(comments):
    folds = stratified_folds(comments.tones, SMALL.held_back, np.random.default_rng(0), groups=comments.groups)
    return np.flatnonzero(folds == 0)


def scored(model, comments):
    """(scores of the held-back comments, their tones)."""
    rows = held_back(comments)
    return model.scores(model.bert.below([comments.texts[i] for i in rows], model.first)), comments.tones[rows]


@pytest.mark.parametrize("rates", [(3e-3, 1e-2), (30.0, 30.0)])
def test_what_remains_is_the_state_with_the_least_loss(place, comments, rates):
    tuning = replace(SMALL, epochs=3, rate=rates[0], head_rate=rates[1])
    model = fine_tune(comments, ANCHORS, directory=place, tuning=tuning)
    z, tones = scored(model, comments)
    assert np.isclose(cal.log_loss(z / model.temperature, tones), min(model.losses))
    assert len(model.losses) == 4


def test_it_starts_at_the_head_of_the_frozen_encoder(tuned, place, comments):
    fresh = fine_tune(comments, ANCHORS, directory=place, tuning=replace(SMALL, epochs=0))
    assert fresh.losses == tuned.losses[:1]
    own = {k: torch.from_numpy(np.array(v)) for k, v in fresh.bert.checkpoint.tensors.items()}
    assert all(torch.equal(fresh.bert.weights[k], v) for k, v in own.items())


def test_only_the_upper_layers_and_the_head_change(tuned):
    before = {k: torch.from_numpy(np.array(v)) for k, v in tuned.bert.checkpoint.tensors.items()}
    changed = {k for k, v in tuned.bert.weights.items() if k not in before or not torch.equal(v, before[k])}
    assert {k for k in changed if not k.startswith(f"encoder.layer.{LAYERS - 1}.")} == {"head.weight", "head.bias"}
    assert len(changed) > 10


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(place, comments):
    short = replace(SMALL, epochs=1)
    first, again, other = (fine_tune(comments, ANCHORS, directory=place, tuning=short, seed=s) for s in (0, 0, 1))
    same = [torch.equal(first.bert.weights[k], again.bert.weights[k]) for k in first.bert.weights]
    assert all(same)
    assert first.losses != other.losses


def test_an_exhausted_budget_ends_it_after_one_epoch(place, comments):
    assert len(fine_tune(comments, ANCHORS, directory=place, tuning=replace(SMALL, cpu_seconds=0)).losses) == 2


def test_the_temperature_is_the_best_one_for_the_held_back_comments(tuned, comments):
    z, tones = scored(tuned, comments)
    targets = cal.platt_targets(tones, 3)
    losses = [-np.sum(targets * cal.log_softmax(z / (tuned.temperature * f))) for f in (0.9, 1, 1.1)]
    assert losses[1] == min(losses)


def test_comments_without_weight_teach_nothing(place, comments):
    """Turned around and weightless beside the true ones: the result is that of the true ones alone."""
    double = Rated(
        [*comments.texts, *comments.texts], np.concatenate([comments.tones, 2 - comments.tones]),
        np.repeat([1.0, 0.0], len(comments.texts)), np.tile(comments.groups, 2),
    )  # fmt: skip
    p = fine_tune(double, ANCHORS, directory=place, tuning=SMALL).probabilities(comments.texts)
    assert (p.argmax(axis=1) == comments.tones).mean() > 0.9


def test_too_few_comments_are_refused(place, comments):
    with pytest.raises(ValueError, match="too few"):
        fine_tune(Rated.plain(comments.texts[:9], comments.tones[:9]), ANCHORS, directory=place)
