"""When a person is asked: where no reply is expected to help, and with a probability that is logged."""

from __future__ import annotations

import numpy as np
import pytest

from learning.core.preference.person import asked, column_of, with_person
from learning.core.preference.policy import Hidden, ReplyPolicy, export_policy


@pytest.fixture
def world() -> tuple[ReplyPolicy, np.ndarray, np.ndarray, np.ndarray]:
    """Inquiries of two needs, each with two replies; those of the second need please nobody."""
    rng = np.random.default_rng(0)
    need = np.arange(400) % 2
    x = np.eye(8)[need] + 0.1 * rng.standard_normal((400, 8))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    eligible = np.repeat(np.eye(2, dtype=bool), 2, axis=1)[need]
    approval = np.where(need[:, None] == 0, 0.8, 0.1) * np.ones((400, 4))
    policy = ReplyPolicy(rng.standard_normal((8, 4)).astype(np.float32), np.zeros(4, np.float32), temperature=0.7)
    return policy, x, eligible, approval


def test_a_person_is_asked_where_no_reply_is_expected_to_help_and_nowhere_else(world) -> None:
    policy, x, eligible, approval = world
    share = asked(with_person(policy, x, eligible, approval, below=0.4), x, eligible)
    assert share[1::2].min() > 0.9
    assert share[0::2].max() < 0.1


def test_a_reply_that_cannot_be_sent_does_not_keep_the_person_away(world) -> None:
    policy, x, eligible, _ = world
    approval = np.where(np.arange(4) < 2, 0.8, 0.1) * np.ones((400, 4))  # good ones that the second need cannot have
    share = asked(with_person(policy, x, eligible, approval, below=0.4), x, eligible)
    assert share[1::2].min() > 0.9


def test_the_order_of_the_replies_among_themselves_stays(world) -> None:
    policy, x, eligible, approval = world
    both = with_person(policy, x, eligible, approval, below=0.4)
    before = policy.probabilities(x, eligible)
    after = both.probabilities(x, np.hstack([eligible, np.ones((400, 1), dtype=bool)]))
    replies = after[:, :4] / (1 - after[:, 4:])
    assert replies == pytest.approx(before, abs=1e-5)


def test_the_person_can_be_taken_off_and_put_on_another_policy(world) -> None:
    policy, x, eligible, approval = world
    layer = Hidden(np.ones((8, 2), np.float32), np.zeros(2, np.float32), np.ones((2, 4), np.float32))
    both = with_person(ReplyPolicy(policy.weights, policy.bias, layer), x, eligible, approval, below=0.4)
    assert both.without_person().probabilities(x) == pytest.approx(
        ReplyPolicy(policy.weights, policy.bias, layer).probabilities(x)
    )
    column = column_of(both)
    assert column is not None
    assert asked(both.without_person().with_column(*column), x, eligible) == pytest.approx(asked(both, x, eligible))
    assert column_of(policy) is None
    assert not asked(policy, x, eligible).any()


def test_the_exported_graph_asks_as_the_trained_policy_does(world) -> None:
    policy, x, eligible, approval = world
    _, gap = export_policy(with_person(policy, x, eligible, approval, below=0.4), check_on=x.astype(np.float32))
    assert gap < 1e-5


@pytest.mark.parametrize("below", [0.0, 1.0, -1.0, float("nan")])
def test_a_bar_out_of_range_is_refused(world, below: float) -> None:
    policy, x, eligible, approval = world
    with pytest.raises(ValueError, match="between 0 and 1"):
        with_person(policy, x, eligible, approval, below=below)
