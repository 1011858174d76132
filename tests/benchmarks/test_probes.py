from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from benchmarks import probes

SMALL_RIDGE = partial(probes.fit_ridge, count=64)


@pytest.fixture
def blobs():
    """Three overlapping clusters on the sphere: (x, y) to fit on, (x, y) to judge by."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = rng.normal(0, 0.6, (300, 8)) + np.eye(8)[y] * 2
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return (x[:200], y[:200]), (x[200:], y[200:])


def test_the_logistic_probe_is_scikit_learns_at_the_chosen_strength(blobs):
    (x, y), (unseen, _) = blobs
    probe = probes.fit_logistic(x, y, seed=0)
    expected = LogisticRegression(C=probe.choice, max_iter=1000).fit(x.astype(float), y).predict_proba(unseen)
    assert np.abs(probe.probabilities(unseen) - expected).max() < 1e-6


@pytest.mark.parametrize("labels", [(0, 1), (0, 2)])
def test_the_logistic_probe_of_two_classes_is_scikit_learns_too_and_an_unseen_class_gets_nothing(blobs, labels):
    (x, y), (unseen, _) = blobs
    two = np.take([*labels, labels[0]], y)
    probe = probes.fit_logistic(x, two, seed=0)
    expected = np.zeros((len(unseen), labels[1] + 1))
    model = LogisticRegression(C=probe.choice, max_iter=1000).fit(x.astype(float), two)
    expected[:, list(labels)] = model.predict_proba(unseen)
    assert np.abs(probe.probabilities(unseen) - expected).max() < 1e-6
    assert np.allclose(probe.held_out.sum(axis=1), 1)
    assert not np.delete(probe.held_out, labels, axis=1).any()


@pytest.mark.parametrize("fit", [probes.fit_logistic, SMALL_RIDGE])
def test_a_probe_learns_what_there_is_to_learn(blobs, fit):
    (x, y), (unseen, truth) = blobs
    p = fit(x, y, seed=0).probabilities(unseen)
    assert np.allclose(p.sum(axis=1), 1)
    assert (p.argmax(axis=1) == truth).mean() > 0.9


@pytest.mark.parametrize("fit", [probes.fit_logistic, SMALL_RIDGE])
def test_held_out_probabilities_come_from_heads_that_did_not_see_the_row(blobs, fit):
    (x, _), _ = blobs
    noise = np.random.default_rng(1).integers(0, 3, len(x))  # labels that say nothing cannot be predicted held out
    held_out = fit(x, noise, seed=0).held_out
    assert held_out.shape == (len(x), 3)
    assert (held_out.argmax(axis=1) == noise).mean() < 0.5


def test_the_temperature_makes_ridge_scores_probabilities(blobs):
    (x, y), (unseen, truth) = blobs
    p = SMALL_RIDGE(x, y, seed=0).probabilities(unseen)
    assert probes.log_loss(p, truth) < 0.6
    assert abs(p.max(axis=1).mean() - (p.argmax(axis=1) == truth).mean()) < 0.15


def test_the_best_temperature_has_less_loss_than_its_neighbours():
    rng = np.random.default_rng(2)
    y = rng.integers(0, 4, 500)
    scores = rng.normal(0, 1, (500, 4)) + 2 * np.eye(4)[y]
    best = probes.fit_temperature(scores, y)
    losses = [probes.log_loss(probes.softmax(scores / t), y) for t in (best / 1.1, best, best * 1.1)]
    assert losses[1] == min(losses)
