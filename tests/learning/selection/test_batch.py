"""What goes into the queue: no copies, no flood of one kind, and an audit slice that can be trusted."""

from __future__ import annotations

import numpy as np
import pytest

from learning.selection import SelectionState, get
from learning.selection.batch import BatchRules, compose, draw_audits, duplicate_distance, without
from tests.learning.selection.worlds import clustered, unit, world


def test_the_audit_slice_is_drawn_with_its_propensity():
    state = world(n=300, labeled=20)
    picks = compose(state, get("margin"), 40, np.random.default_rng(0), BatchRules(audit=0.1))
    audits = [i for i, reason in enumerate(picks.reasons) if reason.kind == "audit"]
    assert len(picks) == len(set(picks.indices)) == 40
    assert len(audits) == 4
    assert picks.propensities[audits] == pytest.approx(4 / 280)
    assert np.isnan(np.delete(picks.propensities, audits)).all()


def test_every_open_item_is_as_likely_to_be_audited():
    state = world(n=60, labeled=20)
    counts = np.zeros(60)
    for seed in range(2000):
        counts[draw_audits(state, 10, np.random.default_rng(seed)).indices] += 1
    assert (counts[~state.available] == 0).all()
    assert counts[state.available] / 2000 == pytest.approx(0.25, abs=0.05)


def test_near_duplicates_of_labels_and_of_each_other_are_passed_over():
    rng = np.random.default_rng(0)
    x, y = clustered(rng, 100)
    copies = unit(np.concatenate([x, x[:50] + 1e-4 * rng.standard_normal((50, 16))]))
    state = SelectionState.of(copies, labeled_at=np.arange(10), labels=y[:10])
    picks = compose(state, get("random"), 40, rng, BatchRules(audit=0.0)).indices
    assert not np.isin(picks, np.arange(100, 110)).any()
    assert len(set(picks % 100)) == len(picks)


def test_no_category_floods_the_batch_while_others_wait():
    rng = np.random.default_rng(0)
    x, y = clustered(rng, 400, k=4)
    p = np.full((400, 4), 0.1, dtype=np.float32)
    p[np.arange(400), y] = np.where(y == 0, 0.4, 0.7)
    state = SelectionState.of(x, probabilities=p)
    free = compose(state, get("margin"), 20, np.random.default_rng(1), BatchRules(audit=0.0, balance=False))
    held = compose(state, get("margin"), 20, np.random.default_rng(1), BatchRules(audit=0.0, balance=True))
    assert len(held) == 20
    assert (y[free.indices] == 0).sum() == 20
    assert (y[held.indices] == 0).sum() <= 20


def test_balance_alone_does_not_shorten_the_batch():
    x, _ = clustered(np.random.default_rng(0), 60, k=2)
    p = np.tile(np.array([0.9, 0.1], dtype=np.float32), (60, 1))
    picks = compose(SelectionState.of(x, probabilities=p), get("margin"), 10, np.random.default_rng(0), BatchRules(0.0))
    assert len(picks) == 10


def test_a_pool_smaller_than_the_batch_is_used_up():
    state = world(n=30, labeled=20)
    assert sorted(compose(state, get("herding"), 50, np.random.default_rng(0)).indices) == sorted(state.open)


def test_what_is_picked_is_covered_and_no_longer_open():
    state = world()
    after = without(state, np.array([state.open[0]]))
    assert not after.available[state.open[0]]
    assert after.labels[-1] == -1
    assert after.nearest()[state.open[0]] == pytest.approx(1.0, abs=1e-5)
    assert state.available[state.open[0]]


def test_the_nearness_of_duplicates_follows_the_pool():
    rng = np.random.default_rng(0)
    wide, narrow = rng.standard_normal((200, 16)), np.ones(16) + 0.05 * rng.standard_normal((200, 16))
    assert duplicate_distance(unit(wide), np.arange(200)) > 10 * duplicate_distance(unit(narrow), np.arange(200))


def test_an_impossible_audit_share_is_refused():
    with pytest.raises(ValueError, match="audit share"):
        BatchRules(audit=1.5)
