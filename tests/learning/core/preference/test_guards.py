"""Guard metrics and replies that win clicks and lose customers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from learning.core.preference.guards import Guard, Logged, breached, change, reward_hacking, winners_that_fail
from learning.core.preference.policy import ReplyPolicy


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


def hacked_log(n: int, *, rewarded: float, failed: float, seed: int = 0) -> Logged:
    """Two replies of equal propensity; reply 1 is rewarded and fails at these rates, reply 0 at 0.4 and 0.1."""
    rng = np.random.default_rng(seed)
    shown = rng.integers(0, 2, n)
    return Logged(
        rng.standard_normal((n, 3)), shown, np.full(n, 0.5), np.full((n, 2), 0.5),
        rng.random(n) < np.where(shown == 1, rewarded, 0.4), rng.random(n) < np.where(shown == 1, failed, 0.1),
    )  # fmt: skip


def leaning(to: int, by: float = 3.0) -> ReplyPolicy:
    return ReplyPolicy(np.zeros((3, 2)), by * np.eye(2)[to])


@pytest.mark.parametrize(
    ("rewarded", "failed", "expected"), [(0.7, 0.3, [1]), (0.7, 0.1, []), (0.4, 0.3, []), (0.2, 0.05, [])]
)
def test_off_policy_only_a_reply_that_wins_rewards_and_fails_customers_is_named(
    rewarded: float, failed: float, expected: list[int]
) -> None:
    log = hacked_log(3000, rewarded=rewarded, failed=failed)
    found = winners_that_fail(leaning(1), leaning(0), log, allowed=0.0)
    assert [h.reply for h in found] == expected
    if expected:
        assert found[0].failed.value == pytest.approx(0.2, abs=0.06)


def test_off_policy_a_reply_that_the_new_policy_does_not_raise_is_nobodys_fault() -> None:
    log = hacked_log(3000, rewarded=0.7, failed=0.3)
    assert winners_that_fail(leaning(0), leaning(0), log, allowed=0.0) == []
    assert winners_that_fail(leaning(1), leaning(0), log, allowed=0.5) == []


def test_off_policy_an_honest_reply_is_seldom_accused() -> None:
    accused = sum(
        bool(winners_that_fail(leaning(1), leaning(0), hacked_log(400, rewarded=0.7, failed=0.1, seed=s), allowed=0.0))
        for s in range(200)
    )
    assert accused <= 200 * 0.05 + 3 * (200 * 0.05 * 0.95) ** 0.5  # one-sided 5 %, three standard deviations
