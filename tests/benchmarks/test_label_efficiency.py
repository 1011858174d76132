"""The figures of the learning curves are what the contract says they are."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.label_efficiency import Curve, World, labels_to, learning_curve, summary
from benchmarks.plots import curve, picture
from learning.core.heads.graph import Pool


def small_world(names=True):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((5, 16))
    y = rng.integers(5, size=400)
    x = centres[y] + 0.8 * rng.standard_normal((400, 16))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    texts = (centres / np.linalg.norm(centres, axis=1, keepdims=True)).astype(np.float32) if names else None
    return World(Pool.of(x[:300]), y[:300], x[300:], y[300:], texts, 5, 60, 20)


def test_labels_to_a_level_are_interpolated():
    assert labels_to([100, 200, 300], np.array([0.7, 0.8, 0.9]), 0.85) == pytest.approx(250)
    assert labels_to([100, 200], np.array([0.7, 0.8]), 0.9) is None
    assert labels_to([0, 100], np.array([0.9, 0.8]), 0.85) == 0.0


def test_the_area_is_the_mean_on_a_grid_of_fifty_labels_from_two_hundred():
    line = Curve([0, 200, 300], [0.5, 0.8, 0.9], 1.0)
    figures = summary([line, line], 300)
    assert figures["aulc"] == [pytest.approx((0.8 + 0.85 + 0.9) / 3), 0.0]
    assert figures["accuracy_at"]["300"] == [0.9, 0.0]


def test_with_names_the_curve_starts_without_a_label():
    line = learning_curve(small_world(), "default", 0)
    assert line.labels == [0, 20, 40, 60]
    assert line.accuracy[-1] > 0.8


@pytest.mark.parametrize("name", ["random", "margin+lr"])
def test_without_a_head_the_curve_starts_with_the_first_batch(name):
    assert learning_curve(small_world(names=False), name, 0).labels == [20, 40, 60]


def test_a_curve_becomes_a_picture_with_a_line_and_a_name():
    figures = summary([Curve([100, 200], [0.7, 0.8], 1.0)], 200)
    root = ElementTree.fromstring(picture({"a < b": curve(figures)}))
    assert any((node.text or "") == "a < b" for node in root.iter())
    assert any(node.tag.endswith("polyline") for node in root.iter())
