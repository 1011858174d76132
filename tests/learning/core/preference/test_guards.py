"""Guard metrics and replies that win clicks and lose customers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from learning.core.preference.guards import Guard, breached, change, reward_hacking


def rates(n: int, share: float, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(n) < share).astype(float)


def test_the_interval_is_scipys_welch_interval_for_many_values() -> None:
    old, new = rates(4000, 0.2, 0), rates(5000, 0.3, 1)
    theirs = stats.ttest_ind(new, old, equal_var=False).confidence_interval(0.95)
    ours = change(old, new)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


def test_nothing_to_compare_is_no_change_and_no_certainty() -> None:
    assert change(np.array([1.0]), np.ones(5)).high == np.inf


def test_a_guard_speaks_only_when_the_whole_interval_is_beyond_it() -> None:
    guard = [Guard("escalation rate", 0.02)]
    worse = breached(guard, {"escalation rate": rates(4000, 0.1, 0)}, {"escalation rate": rates(4000, 0.2, 1)})
    unsure = breached(guard, {"escalation rate": rates(30, 0.1, 0)}, {"escalation rate": rates(30, 0.2, 1)})
    assert len(worse) == 1
    assert "escalation rate rose" in worse[0]
    assert unsure == []


@pytest.mark.parametrize(("clicks", "solved", "expected"), [(0.5, 0.4, [1]), (0.5, 0.8, []), (0.2, 0.4, [])])
def test_a_reply_is_hacking_only_if_it_wins_clicks_and_loses_resolutions(
    clicks: float, solved: float, expected: list[int]
) -> None:
    n = 1500
    reply = np.repeat([0, 0, 1, 1], n)
    new = np.tile(np.repeat([False, True], n), 2)
    clicked = np.concatenate([rates(n, p, i) for i, p in enumerate((0.2, 0.2, 0.2, clicks))]) > 0
    resolved = np.concatenate([rates(n, p, 9 + i) for i, p in enumerate((0.8, 0.8, 0.8, solved))]) > 0
    assert reward_hacking(reply, new, clicked, resolved) == expected
