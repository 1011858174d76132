from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression

from learning.core import sentiment_head
from learning.core.calibration import log_loss, softmax
from learning.core.sentiment_head import learn, tone_of
from serving.anchors import NEGATIVE, POSITIVE
from serving.sentiment import ToneHead

D = 12


@pytest.fixture
def world():
    """Unit rows whose tone follows one axis, and a prior that knows a good part of it."""
    rng = np.random.default_rng(0)
    axis = rng.normal(0, 1, D)
    guess = axis + rng.normal(0, 0.7, D)
    prior = ToneHead(np.stack([-guess, 0 * guess, guess], axis=1) * 2, np.array([0.0, -1.0, 0.0]))

    def draw(n, seed):
        x = np.random.default_rng(seed).normal(0, 1, (n, D))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        noise = np.random.default_rng(seed + 1).normal(0, 0.6, n)
        return x.astype(np.float32), np.where(x @ axis + noise > 0, POSITIVE, NEGATIVE).astype(np.int64)

    return draw, prior


def accuracy(p, tones):
    return ((p[:, POSITIVE] > p[:, NEGATIVE]) == (tones == POSITIVE)).mean()


def test_many_pairs_lead_beyond_the_anchors(world):
    draw, prior = world
    unseen, truth = draw(2000, 50)
    before = accuracy(softmax(prior.logits(unseen)), truth)
    assert accuracy(learn(*draw(800, 7), prior).probabilities(unseen), truth) > before + 0.02


@pytest.mark.parametrize("n", [6, 30, 100])
def test_few_pairs_do_not_hurt_what_the_anchors_know(world, n):
    draw, prior = world
    unseen, truth = draw(2000, 50)
    before = log_loss(prior.logits(unseen), truth)
    after = [
        -np.log(learn(*draw(n, seed), prior).probabilities(unseen)[np.arange(2000), truth]).mean() for seed in range(6)
    ]
    assert np.mean(after) < before + 0.02


def test_ratings_at_random_make_the_head_claim_nothing(world):
    draw, prior = world
    x, _ = draw(400, 3)
    noise = np.random.default_rng(5).integers(0, 3, 400)
    unseen, _ = draw(500, 50)
    assert learn(x, noise, prior).probabilities(unseen).max() < 0.6
    assert softmax(prior.logits(unseen)).max() > 0.9


def test_the_folded_head_is_the_regression_around_the_anchors(world):
    draw, prior = world
    x, _ = draw(60, 1)
    z, scale = prior.logits(x), 1.7
    theta = np.random.default_rng(0).normal(0, 1, (D + 4, 3))
    expected = z + np.concatenate([x, z / scale, np.ones((60, 1))], axis=1) @ theta
    assert np.abs(sentiment_head._folded(theta, prior, scale).logits(x) - expected).max() < 1e-9


def test_without_a_prior_it_is_scikit_learns_logistic_regression(world):
    draw, _ = world
    x, tones = draw(120, 1)
    rows = np.concatenate([x, np.ones((120, 1))], axis=1).astype(np.float64)
    targets = np.eye(3)[tones]
    theta = sentiment_head._Problem(rows, np.zeros((120, 3)), targets, np.ones(120)).fit(2.0)
    # Two of three tones occur: the oracle is the binary regression with twice the strength, on the difference of the columns.
    third = theta[:, 1]
    oracle = LogisticRegression(C=1e6, fit_intercept=False).fit(rows, tones)
    assert np.abs(theta.sum(axis=1)).max() < 1e-4  # symmetric penalty: the columns sum to zero
    assert (rows @ third).max() < 0  # a tone that never occurred
    assert np.corrcoef(rows @ (theta[:, 2] - theta[:, 0]), oracle.decision_function(rows))[0, 1] > 0.8


def test_the_slope_is_that_of_the_objective(world, monkeypatch):
    draw, prior = world
    x, tones = draw(20, 1)
    seen = {}
    monkeypatch.setattr(sentiment_head, "minimize", lambda f, x0, **kw: seen.update(f=f, n=len(x0)) or _Stop(x0))
    problem = sentiment_head._Problem(x.astype(np.float64), prior.logits(x), np.eye(3)[tones], np.linspace(0.5, 2, 20))
    problem.fit(0.5)
    at = np.random.default_rng(1).normal(0, 0.5, seen["n"])
    assert check_grad(lambda v: seen["f"](v)[0], lambda v: seen["f"](v)[1], at) < 1e-5


class _Stop:
    def __init__(self, x):
        self.x = x


def test_nothing_to_learn_from_is_refused(world):
    _, prior = world
    with pytest.raises(ValueError, match="no comments"):
        learn(np.zeros((0, D), np.float32), np.zeros(0, np.int64), prior)


@given(st.floats(-10, 10), st.floats(0.5, 20), st.floats(0, 1))
def test_a_rating_means_the_same_on_every_scale(low, span, place):
    tone = tone_of(place * 4 + 1, low=1, high=5)
    if min(abs(place - 0.25), abs(place - 0.75)) > 1e-6:
        assert tone_of(low + place * span, low=low, high=low + span) == tone
