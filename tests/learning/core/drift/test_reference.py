"""A reference: holding out equals comparing, evidence survives the disk."""

from __future__ import annotations

import numpy as np
import pytest

from learning.core.drift.reference import Reference, Window
from tests.learning.core.drift.worlds import World


@pytest.fixture(scope="module")
def texts():
    rng, world = np.random.default_rng(0), World()
    topic = world.topics(500, rng)
    return world.texts(topic, rng), topic, rng.random(500).astype(np.float32)


def test_holding_out_equals_comparing_with_the_rest(texts):
    """The same window against a reference without it: every number must agree, but for the density's scaling."""
    x, topic, doubt = texts
    whole = Reference(x, predictions=topic, strangeness=doubt, classes=12)
    held = np.sort(np.random.default_rng(1).choice(500, 90, replace=False))
    rest = np.setdiff1d(np.arange(500), held)
    apart = Reference(x[rest], predictions=topic[rest], strangeness=doubt[rest], classes=12)
    apart.radius = whole.radius
    a, b = whole.hold_out(held), apart.compare(Window(x[held], topic[held], doubt[held]))
    assert a.nearest == pytest.approx(b.nearest, abs=1e-5)
    assert np.sort(a.nearest_reference) == pytest.approx(np.sort(b.nearest_reference), abs=1e-5)
    assert a.density == pytest.approx(b.density * 500 / 410, abs=1e-3)
    assert sorted(a.pairs[2].tolist()) == pytest.approx(sorted(b.pairs[2].tolist()), abs=1e-4)
    assert a.cells.tolist() == b.cells.tolist()
    assert a.cell_counts.tolist() == b.cell_counts.tolist()
    assert a.centroid_gap == pytest.approx(b.centroid_gap, abs=1e-5)
    assert a.strange.tolist() == b.strange.tolist()
    assert sorted(a.strange_reference.tolist()) == sorted(b.strange_reference.tolist())


def test_the_feature_gap_of_held_texts_is_their_mean_less_that_of_the_rest(texts):
    whole = Reference(texts[0])
    held = np.arange(100)
    expected = whole.features[:100].mean(0) - whole.features[100:].mean(0)
    assert whole.hold_out(held).feature_gap == pytest.approx(expected, abs=1e-5)


def test_a_reference_loaded_from_disk_is_the_same_evidence(texts, tmp_path):
    x, topic, doubt = texts
    kept = Reference(x, predictions=topic, strangeness=doubt, classes=15, seed=3)
    kept.save(tmp_path / "reference.npz")
    back = Reference.load(tmp_path / "reference.npz")
    assert back.sha256 == kept.sha256
    assert back.n_cells == 15
    window = Window(x[:50], topic[:50], doubt[:50])
    assert back.compare(window).density.tolist() == kept.compare(window).density.tolist()


def test_a_reference_without_predictions_uses_cells_of_the_space_and_survives_the_disk_too(texts, tmp_path):
    kept = Reference(texts[0])
    kept.save(tmp_path / "reference.npz")
    back = Reference.load(tmp_path / "reference.npz")
    assert back.sha256 == kept.sha256
    assert back.cells.tolist() == kept.cells.tolist()


def test_other_evidence_has_another_hash(texts):
    x, topic, _ = texts
    hashes = {
        Reference(x).sha256,
        Reference(x[::-1].copy()).sha256,
        Reference(x, predictions=topic).sha256,
        Reference(x, seed=1).sha256,
    }
    assert len(hashes) == 4


def test_few_texts_are_no_reference():
    with pytest.raises(ValueError, match="100"):
        Reference(np.eye(50, dtype=np.float32))


@pytest.mark.parametrize("window", [{"predictions": np.zeros(30, int)}, {"strangeness": np.zeros(30, np.float32)}])
def test_a_window_that_knows_more_than_its_reference_is_refused(texts, window):
    with pytest.raises(ValueError, match="both"):
        Reference(texts[0]).compare(Window(texts[0][:30], **window))


def test_crowded_texts_get_a_smaller_radius(monkeypatch, texts):
    wide = Reference(texts[0])
    monkeypatch.setattr("learning.core.drift.reference.MOST_CLOSE", 5.0)
    narrow = Reference(texts[0])
    assert narrow.radius < wide.radius
    assert 2 * len(narrow.left) / 500 < 12
