"""The few-label head: uses what helps, leaves what hurts, and is served without losing it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from learning.core.heads.experts import EXPERTS, Known
from learning.core.heads.features import FeatureMap
from learning.core.heads.graph import Pool
from learning.core.heads.softmax import Rows, probabilities, scores
from learning.core.heads.stack import StackedHead, Student, best_regularisation, looked_up

K, D = 12, 24


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@cache
def world(seed=0, n=1200):
    """Clusters in which neighbours share labels, and names that lie near them."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((K, D))
    y = rng.integers(K, size=n)
    x = unit(centres[y] + 0.9 * rng.standard_normal((n, D)))
    names = unit(centres + 0.5 * rng.standard_normal((K, D)))
    return x, y, names


@cache
def misleading_world(seed=0, n=1200):
    """Large topics that decide who is near whom, and labels that cut across all of them in a few small directions."""
    rng = np.random.default_rng(seed)
    topic, y = rng.integers(40, size=n), rng.integers(2, size=n)
    x = 2.0 * rng.standard_normal((40, D))[topic] + 0.3 * rng.standard_normal((n, D))
    x[:, 0] = 2.0 * (y - 0.5) + 0.3 * rng.standard_normal(n)
    return unit(x), y, unit(rng.standard_normal((2, D)))


@cache
def pool_of(kind):
    return Pool.of((world if kind == "world" else misleading_world)()[0][:900])


def accuracy(p, y):
    return float((p.argmax(axis=1) == y).mean())


def plain(x, y, classes, test):
    theta = Rows(x).fit(np.eye(classes, dtype=np.float32)[y], best_regularisation(x, y, classes))
    return probabilities(scores(test, theta))


def test_names_alone_answer_before_any_label():
    _, y, names = world()
    stack = StackedHead(pool_of("world"), K, prototypes=names).fit([], [])
    assert accuracy(stack.beliefs, y[:900]) > 0.6
    assert np.allclose(stack.beliefs.sum(axis=1), 1.0, atol=1e-4)


def test_with_few_labels_it_beats_plain_regression():
    x, y, names = world()
    at = np.arange(36)
    stack = StackedHead(pool_of("world"), K, prototypes=names).fit(at, y[at])
    assert accuracy(stack.beliefs[36:], y[36:900]) > accuracy(plain(x[at], y[at], K, x[36:900]), y[36:900]) + 0.05


def test_the_graph_costs_nothing_where_neighbours_do_not_share_labels():
    x, y, _ = misleading_world()
    at = np.arange(200)
    stack = StackedHead(pool_of("misleading"), 2).fit(at, y[at])
    assert accuracy(stack.beliefs[200:], y[200:900]) > accuracy(plain(x[at], y[at], 2, x[200:900]), y[200:900]) - 0.02


def test_names_are_given_up_where_they_say_nothing():
    _, y, names = world()
    at = np.arange(150)
    wrong = names[np.random.default_rng(1).permutation(K)]
    head = StackedHead(pool_of("world"), K, prototypes=wrong)
    stack, bare = head.fit(at, y[at]), StackedHead(pool_of("world"), K).fit(at, y[at])
    assert not stack.choices.use_texts
    assert accuracy(stack.beliefs, y[:900]) > accuracy(bare.beliefs, y[:900]) - 0.01


def test_the_distilled_head_answers_new_texts_as_well_as_the_stack_its_pool():
    x, y, names = world()
    at = np.arange(100)
    stack = StackedHead(pool_of("world"), K, prototypes=names).fit(at, y[at])
    student = Student(pool_of("world"), FeatureMap(D, 256))
    theta = student.fit(stack.beliefs)
    assert theta.shape == (256 + D + 1, K)
    assert accuracy(student.probabilities(x[900:], theta), y[900:]) > accuracy(stack.beliefs[100:], y[100:900]) - 0.03


def test_with_every_text_labeled_nothing_is_lost_against_plain_regression():
    x, y, names = world()
    at = np.arange(900)
    stack = StackedHead(pool_of("world"), K, prototypes=names).fit(at, y[at])
    student = Student(pool_of("world"), FeatureMap(D, 256))
    served = student.probabilities(x[900:], student.fit(stack.beliefs))
    assert accuracy(served, y[900:]) > accuracy(plain(x[:900], y[:900], K, x[900:]), y[900:]) - 0.015


def test_it_serves_texts_outside_the_pool_at_least_as_well_as_its_student():
    x, y, names = world(n=2400)
    pool, at = Pool.of(x[:900]), np.arange(40)
    stack = StackedHead(pool, K, prototypes=names).fit(at, y[at])
    student = Student(pool, FeatureMap(D, 256))
    served, distilled = stack.served.scores(x[900:]), student.probabilities(x[900:], student.fit(stack.beliefs))
    assert stack.served.neighbours is not None
    assert accuracy(served, y[900:]) > accuracy(distilled, y[900:]) - 0.01
    assert accuracy(served, y[900:]) > accuracy(stack.beliefs, y[:900]) - 0.03


def test_it_says_of_the_pool_what_it_believes_of_it():
    """Looked up, a text of the pool has itself as a neighbour: that is all the difference there is."""
    x, y, names = world()
    at = np.arange(120)
    stack = StackedHead(pool_of("world"), K, prototypes=names).fit(at, y[at])
    served = stack.served.scores(x[120:900])
    assert (served.argmax(axis=1) == stack.beliefs[120:].argmax(axis=1)).mean() > 0.97


def test_it_serves_no_worse_than_plain_regression_where_neighbours_mislead():
    x, y, _ = misleading_world(n=2400)
    pool, at = Pool.of(x[:900]), np.arange(300)
    stack = StackedHead(pool, 2).fit(at, y[at])
    expected = accuracy(plain(x[:300], y[:300], 2, x[900:]), y[900:])
    assert accuracy(stack.served.scores(x[900:]), y[900:]) > expected - 0.015
    assert stack.choices.shares["propagation"] == 0.0


def test_it_looks_nothing_up_where_no_expert_asks_neighbours():
    x, y, _ = world()
    alone = StackedHead(pool_of("world"), K, experts=[e for e in EXPERTS if e.name in ("linear", "means")])
    stack = alone.fit(np.arange(60), y[:60])
    assert stack.served.neighbours is None
    assert np.allclose(probabilities(stack.served.scores(x[:900])), stack.beliefs, atol=1e-4)


def test_a_pool_too_large_to_look_up_keeps_its_labels_and_a_spread_of_the_rest():
    kept = looked_up(1000, 10, np.array([5, 900, 901]), largest=2000)
    assert len(kept) == 200
    assert {5, 900, 901} <= set(kept.tolist())
    assert np.diff(kept).max() <= 7
    assert np.array_equal(looked_up(200, 10, np.array([5]), largest=2000), np.arange(200))
    assert np.array_equal(looked_up(50, 10, np.arange(40), largest=20), np.arange(40))


def test_choices_are_reused_until_labels_have_doubled():
    _, y, names = world()
    head = StackedHead(pool_of("world"), K, prototypes=names)
    first = head.fit(np.arange(60), y[:60])
    assert head.fit(np.arange(119), y[:119], previous=first.choices).choices is first.choices
    assert head.fit(np.arange(120), y[:120], previous=first.choices).choices is not first.choices
    assert head.fit(np.arange(40), y[:40], previous=first.choices).choices is not first.choices


def test_the_same_labels_give_the_same_beliefs():
    _, y, names = world()
    a, b = (StackedHead(pool_of("world"), K, prototypes=names).fit(np.arange(50), y[:50]) for _ in range(2))
    assert np.array_equal(a.beliefs, b.beliefs)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_handful_of_labels_is_enough_to_answer(n):
    _, y, _ = world()
    beliefs = StackedHead(pool_of("world"), K).fit(np.arange(n), y[:n]).beliefs
    assert np.isfinite(beliefs).all()
    assert np.allclose(beliefs.sum(axis=1), 1.0, atol=1e-4)


def test_a_category_without_name_or_label_is_not_believed_in():
    _, y, names = world()
    known = names.copy()
    known[3] = 0.0
    at = np.flatnonzero(y[:200] != 3)
    beliefs = StackedHead(pool_of("world"), K, prototypes=known).fit(at, y[at]).beliefs
    assert (beliefs.argmax(axis=1) == 3).mean() < 0.02


@pytest.mark.parametrize("expert", EXPERTS, ids=lambda e: e.name)
def test_every_expert_scores_held_out_texts_as_it_scores_the_pool(expert):
    _, y, names = world()
    head = StackedHead(pool_of("world"), K, prototypes=names)
    known = Known(head.pool, np.arange(80), y[:80], np.ones(80, np.float32), K, head.texts, head.pool.affinity())
    at = np.arange(500, 600)
    for choice, tried in zip(expert.grid, expert.trial(known, at), strict=True):
        whole = expert.fitted(known, choice).scores
        assert whole.shape == (900, K)
        agree = (whole[at].argmax(axis=1) == tried.argmax(axis=1)).mean()
        assert agree > 0.9


def test_labels_out_of_range_are_refused():
    with pytest.raises(ValueError, match="labels must be"):
        StackedHead(pool_of("world"), K).fit([0], [K])
