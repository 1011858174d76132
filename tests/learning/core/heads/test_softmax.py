"""The quick logistic regression minimises what scikit-learn minimises."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from learning.core.heads.softmax import Rows, probabilities, scores


def problem(n, d=12, k=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    y = (x @ rng.standard_normal((d, k)) + rng.gumbel(size=(n, k))).argmax(axis=1)
    return x, y


def objective(theta, x, y, w, C):
    z = x.astype(np.float64) @ theta[:-1] + theta[-1]
    loss = np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - z[np.arange(len(y)), y]
    return float(w @ loss) + 0.5 / C * float(np.square(theta[:-1]).sum())


@pytest.mark.parametrize("n", [8, 200])
@pytest.mark.parametrize("C", [0.1, 10.0])
def test_it_reaches_the_minimum_of_scikit_learn(n, C):
    x, y = problem(n)
    w = np.random.default_rng(1).uniform(0.5, 2.0, size=n).astype(np.float32)
    ours = Rows(x, w).fit(np.eye(4, dtype=np.float32)[y], C, steps=500)
    oracle = LogisticRegression(C=C, max_iter=5000, tol=1e-8).fit(x, y, sample_weight=w)
    theirs = np.zeros((13, 4))
    theirs[:-1, oracle.classes_], theirs[-1, oracle.classes_] = oracle.coef_.T, oracle.intercept_
    theirs[-1, np.setdiff1d(np.arange(4), oracle.classes_)] = -30.0
    assert objective(ours, x, y, w, C) == pytest.approx(objective(theirs, x, y, w, C), rel=2e-3, abs=2e-3)


def test_soft_targets_are_labels_counted_in_parts():
    x, y = problem(60)
    twice = np.concatenate([x, x])
    hard = Rows(twice).fit(np.eye(4, dtype=np.float32)[np.concatenate([y, (y + 1) % 4])], 1.0, steps=300)
    soft = Rows(x, np.full(60, 2.0)).fit((np.eye(4)[y] + np.eye(4)[(y + 1) % 4]).astype(np.float32) / 2, 1.0, steps=300)
    assert np.allclose(probabilities(scores(x, hard)), probabilities(scores(x, soft)), atol=5e-3)


def test_a_warm_start_goes_on_where_it_was():
    x, y = problem(200)
    targets, rows = np.eye(4, dtype=np.float32)[y], Rows(x)
    done = rows.fit(targets, 10.0, steps=300)
    again = rows.fit(targets, 10.0, done, steps=1)
    assert np.allclose(probabilities(scores(x, done)), probabilities(scores(x, again)), atol=1e-3)


def test_rows_without_weight_are_refused():
    with pytest.raises(ValueError, match="weights"):
        Rows(np.ones((3, 2), np.float32), np.zeros(3))
