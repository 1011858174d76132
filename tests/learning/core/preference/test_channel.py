"""The channel learner: rates it recovers, needs it finds, and what its distilled policy keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from learning.core.preference.channel import Channel, ChannelConfig, distil, fit_channel, grouped
from learning.core.preference.evidence import Replies
from learning.core.preference.pairs import pairs_from_comparisons
from learning.core.preference.policy import Hidden, ReplyPolicy
from tests.learning.core.preference.worlds import Town, town


def fitted(place: Town, weights: np.ndarray | None = None) -> Channel:
    e = place.evidence
    return fit_channel(
        e.votes, e.weights if weights is None else weights, e.smoothed, e.replies, e.reference, ChannelConfig()
    )


def test_it_recovers_how_often_hits_and_misses_are_praised() -> None:
    channel = fitted(town(honest=4000))
    assert channel.low == pytest.approx(0.05, abs=0.03)
    assert channel.high[0::2].mean() == pytest.approx(0.9, abs=0.06)
    assert channel.high[1::2].mean() == pytest.approx(0.645, abs=0.08)


def test_it_finds_the_needs_behind_inquiries_it_has_no_label_for() -> None:
    place = town(honest=2500)
    assert (fitted(place).log_needs.argmax(axis=1) == place.labels).mean() > 0.95


def test_its_approval_of_a_vote_is_its_expected_praise_of_that_reply() -> None:
    place = town(honest=300)
    votes, channel = place.evidence.votes, fitted(place)
    assert channel.approval(votes) == pytest.approx(channel.expected()[votes.inquiry, votes.reply])
    assert (channel.expected() >= channel.low - 1e-9).all()


def test_votes_without_weight_change_nothing() -> None:
    place = town(honest=400, bots=200)
    only_honest = town(honest=400, bots=200).evidence.votes.take(~place.hostile)
    honest = fitted(replace(place, evidence=replace(place.evidence, votes=only_honest, weights=np.ones(400))))
    weighed = fitted(place, (~place.hostile).astype(float))
    assert weighed.low == pytest.approx(honest.low, abs=1e-3)
    assert np.exp(weighed.log_needs) == pytest.approx(np.exp(honest.log_needs), abs=0.02)


def test_without_votes_it_stays_with_the_reference() -> None:
    place = town(honest=50)
    channel = fitted(place, np.zeros(50))
    expected = grouped(place.evidence.reference, place.evidence.replies).probabilities(place.evidence.smoothed)
    assert np.exp(channel.log_needs) == pytest.approx(expected, abs=1e-5)


def test_the_distilled_policy_orders_replies_as_the_channel_does() -> None:
    place = town(honest=2500)
    e, channel = place.evidence, fitted(place)
    policy = distil(channel, e.pool, e.replies, e.reference, ChannelConfig())
    agreement = policy.scores(e.pool).argmax(axis=1) == channel.expected().argmax(axis=1)
    assert agreement.mean() > 0.95
    assert policy.weights.shape == e.reference.weights.shape


def test_grouping_averages_the_scores_of_a_categorys_replies() -> None:
    rng = np.random.default_rng(0)
    layer = Hidden(rng.standard_normal((4, 3)), rng.standard_normal(3), rng.standard_normal((3, 3)))
    policy = ReplyPolicy(rng.standard_normal((4, 3)), rng.standard_normal(3), layer)
    replies = Replies(rng.standard_normal((3, 4)), np.array([0, 1, 0]))
    x = rng.standard_normal((5, 4))
    scores = policy.scores(x)
    assert grouped(policy, replies).scores(x) == pytest.approx(
        np.column_stack([scores[:, [0, 2]].mean(axis=1), scores[:, 1]])
    )


def test_a_reference_with_a_hidden_layer_keeps_it_through_distillation() -> None:
    place = town(honest=600)
    e = place.evidence
    rng = np.random.default_rng(1)
    layer = Hidden(rng.standard_normal((24, 5)), np.zeros(5), 0.1 * rng.standard_normal((5, 12)))
    reference = replace(e.reference, hidden=layer)
    channel = fit_channel(e.votes, e.weights, e.smoothed, e.replies, reference, ChannelConfig())
    policy = distil(channel, e.pool, e.replies, reference, ChannelConfig())
    assert policy.hidden is not None
    agreement = policy.scores(e.pool).argmax(axis=1) == channel.expected().argmax(axis=1)
    assert agreement.mean() > 0.9


def compared(place: Town, verdict: str, n: int = 150) -> Channel:
    """Votes as before, and comparisons of the two replies of each inquiry's category."""
    e, inquiry = place.evidence, np.arange(n)
    first = 2 * place.labels[inquiry]
    pairs = pairs_from_comparisons(inquiry, first, first + 1, [verdict] * n)
    return fit_channel(e.votes, e.weights, e.smoothed, e.replies, e.reference, ChannelConfig(), pairs)


def test_comparisons_move_the_praise_of_the_reply_that_won() -> None:
    place = town(honest=300)
    before, after = fitted(place), compared(place, "b")
    assert (after.high[1::2] - after.high[0::2]).mean() > (before.high[1::2] - before.high[0::2]).mean() + 0.1
    assert (after.high[1::2] > after.high[0::2]).all()


def test_ties_pull_two_replies_together_and_neither_says_nothing() -> None:
    place = town(honest=300)
    before, tied, neither = fitted(place), compared(place, "tie"), compared(place, "neither")
    assert np.abs(tied.high[1::2] - tied.high[0::2]).mean() < np.abs(before.high[1::2] - before.high[0::2]).mean()
    assert neither.high == pytest.approx(before.high)
