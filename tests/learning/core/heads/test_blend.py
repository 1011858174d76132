"""Shares of a blend: by evidence, from a stated start."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from learning.core import calibration as cal
from learning.core.heads.blend import PULL, cross_fitted, fit_shares


def members(n: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Two honest members with different mistakes, and one that knows nothing."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 5, n)
    signal = 2.0 * np.eye(5)[y]
    return [signal + rng.standard_normal((n, 5)), signal + rng.standard_normal((n, 5)), rng.standard_normal((n, 5))], y


def test_the_member_that_knows_nothing_gets_no_share() -> None:
    scores, y = members(3000)
    shares = fit_shares(scores, y, np.ones(3000), start=[1 / 3] * 3)
    assert shares[2] < 0.2
    assert shares[:2].min() > 0.5


def test_the_blend_beats_its_members() -> None:
    scores, y = members(3000)
    blended = cross_fitted(scores, y, np.ones(3000), np.arange(3000) % 5, start=[1 / 3] * 3)
    alone = [cal.log_loss(s / cal.fit_temperature(s, y), y) for s in scores]
    assert cal.log_loss(blended, y) < min(alone) - 0.05


def test_it_is_the_minimum_of_the_stated_loss() -> None:
    scores, y = members(40)
    w, start = np.random.default_rng(1).uniform(0.1, 2, 40), np.array([0.2, 0.3, 0.5])
    targets = cal.platt_targets(y, 5, w)

    def loss(v: np.ndarray) -> float:
        logs = cal.log_softmax(sum(s * share for s, share in zip(scores, v, strict=True)))
        return float(-(w[:, None] * targets * logs).sum() + PULL / 2 * np.square(v - start).sum())

    oracle = minimize(loss, [1.0, 1.0, 1.0], method="SLSQP", bounds=[(0, None)] * 3, options={"ftol": 1e-13})
    assert fit_shares(scores, y, w, start=start) == pytest.approx(oracle.x, abs=1e-3)


def test_without_labels_the_start_stays() -> None:
    none = [np.zeros((0, 3))] * 2
    assert list(fit_shares(none, np.zeros(0, dtype=int), np.zeros(0), start=[1, 0.5])) == [1, 0.5]


def test_a_few_labels_move_the_shares_a_little() -> None:
    scores, y = members(3)
    shares = fit_shares(scores, y, np.ones(3), start=[1.0, 0.0, 0.0])
    assert 0.5 < shares[0] < 2


def test_shares_are_never_negative() -> None:
    scores, y = members(500)
    assert fit_shares([scores[0], -scores[1]], y, np.ones(500), start=[0.5, 0.5])[1] == 0.0


def test_each_row_of_the_cross_fitted_blend_is_scored_by_shares_of_the_other_folds() -> None:
    scores, y = members(60)
    folds = np.arange(60) % 3
    found = cross_fitted(scores, y, np.ones(60), folds, start=[1 / 3] * 3)
    out = folds != 1
    v = fit_shares([s[out] for s in scores], y[out], np.ones(out.sum()), start=[1 / 3] * 3)
    assert found[~out] == pytest.approx(sum(share * s[~out] for share, s in zip(v, scores, strict=True)))
