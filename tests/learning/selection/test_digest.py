"""The draw of a sample: which items, and how often."""

from __future__ import annotations

import numpy as np

from learning.selection.digest import draw_keys, uniforms


def test_a_draw_depends_on_seed_and_id_alone():
    ids = np.arange(10_000)
    u = uniforms(ids, 7)
    assert np.array_equal(u[::-1], uniforms(ids[::-1], 7))
    assert not np.array_equal(u, uniforms(ids, 8))
    assert abs(u.mean() - 0.5) < 0.01
    assert abs(u.var() - 1 / 12) < 0.005


def test_unsure_items_are_drawn_more_often():
    weight = np.where(np.arange(5000) % 2, 0.9, 0.1).astype(np.float32)
    drawn = np.argsort(draw_keys(np.arange(5000), weight, 1))[:500]
    assert 0.8 < (drawn % 2).mean() < 0.97
