"""Preference losses: closed forms, finite differences, and the same logits through TRL's trainers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import preference_trl as trl
from learning.core.preference import losses

finite = st.floats(-30, 30)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("kind", list(trl.LOSSES))
def test_loss_and_gradient_equal_trls_on_the_same_logits(kind: str) -> None:
    if reason := trl.available():
        pytest.skip(reason)
    assert trl.max_difference(kind, np.random.default_rng(0)) < 1e-6


def test_dpo_is_ln_2_while_the_policy_is_the_reference() -> None:
    logp = losses.log_policy(torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    margins = losses.margin(logp[:, 0], logp[:, 1], logp[:, 0], logp[:, 1])
    assert losses.dpo(margins, beta=0.3).numpy() == pytest.approx(np.full(5, math.log(2)), abs=1e-15)


@given(finite, st.floats(0.01, 3))
@settings(deadline=None)
def test_dpo_is_the_log_loss_of_a_scaled_margin(margin: float, beta: float) -> None:
    loss = float(losses.dpo(tensor(margin), beta=beta)[0])
    assert loss == pytest.approx(math.log1p(math.exp(-beta * margin)), rel=1e-9)


def test_dpo_stays_finite_where_probabilities_would_underflow() -> None:
    margin = tensor(-1e4).requires_grad_()
    losses.dpo(margin, beta=1.0).sum().backward()
    assert losses.dpo(margin, beta=1.0).item() == pytest.approx(1e4)
    assert margin.grad is not None
    assert margin.grad.item() == pytest.approx(-1)


@given(finite, st.floats(0.05, 1), st.floats(0, 0.45))
@settings(deadline=None)
def test_robust_dpo_is_unbiased_under_flips(margin: float, beta: float, flips: float) -> None:
    clean = losses.dpo(tensor(margin), beta=beta)
    kept = losses.robust_dpo(tensor(margin), beta=beta, flip_rate=flips)
    flipped = losses.robust_dpo(tensor(-margin), beta=beta, flip_rate=flips)
    expected = (1 - flips) * kept + flips * flipped
    assert float(expected[0]) == pytest.approx(float(clean[0]), rel=1e-7, abs=1e-9)


def test_conservative_dpo_rests_where_the_sigmoid_equals_the_clean_share() -> None:
    margin = tensor(math.log(0.9 / 0.1) / 0.5).requires_grad_()
    losses.conservative_dpo(margin, beta=0.5, flip_rate=0.1).sum().backward()
    assert margin.grad is not None
    assert margin.grad.item() == pytest.approx(0, abs=1e-12)


def test_ipo_rests_at_half_the_inverse_of_its_strength() -> None:
    assert losses.ipo(tensor(1 / (2 * 0.25)), beta=0.25).item() == 0
    assert losses.ipo(tensor(0.0), beta=0.25).item() == pytest.approx(4.0)


def test_kto_is_one_half_at_the_reference_for_both_kinds_of_vote() -> None:
    loss = losses.kto(tensor(0, 0), torch.tensor([True, False]), torch.tensor(0.0), beta=0.3)
    assert loss.numpy() == pytest.approx([0.5, 0.5])


def test_kto_weighs_likes_and_dislikes_apart() -> None:
    loss = losses.kto(
        tensor(0, 0), torch.tensor([True, False]), torch.tensor(0.0), beta=1, liked_weight=4, disliked_weight=2
    )
    assert loss.numpy() == pytest.approx([2.0, 1.0])


def test_ktos_baseline_is_never_negative_and_carries_no_gradient() -> None:
    logp = tensor(-3.0, -2.0).requires_grad_()
    baseline = losses.kto_baseline(logp, tensor(-1.0, -1.0))
    assert baseline.item() == 0
    assert not baseline.requires_grad


@given(st.floats(-5, 0), st.floats(0, 1), st.floats(0.01, 0.3), st.floats(0.5, 0.99))
@settings(deadline=None)
def test_the_channel_is_the_log_loss_of_its_own_praise_rate(logq: float, up: float, low: float, high: float) -> None:
    p = low + (high - low) * math.exp(logq)
    loss = losses.channel(tensor(logq), tensor(up), low=tensor(low), high=tensor(high))
    assert loss.item() == pytest.approx(-up * math.log(p) - (1 - up) * math.log(1 - p), rel=1e-6)


def test_no_single_thumb_can_make_the_channels_loss_grow_without_bound() -> None:
    loss = losses.channel(tensor(-1e4), tensor(1.0), low=tensor(0.05), high=tensor(0.9))
    assert loss.item() == pytest.approx(-math.log(0.05))


def test_the_binary_objective_is_the_log_loss_of_a_sigmoid() -> None:
    loss = losses.binary(tensor(0.0, 2.0), tensor(0.25, 1.0))
    assert loss.numpy() == pytest.approx([math.log(2), math.log1p(math.exp(-2))])


def test_bradley_terry_is_dpo_on_rewards() -> None:
    a, b = tensor(1.0, -2.0), tensor(0.5, 3.0)
    assert torch.equal(losses.bradley_terry(a, b), losses.dpo(a - b, beta=1.0))


def test_inverse_propensity_loss_is_minus_the_importance_weighted_reward() -> None:
    loss = losses.inverse_propensity(tensor(math.log(0.5)), tensor(0.7), tensor(0.1), clip=100)
    assert loss.item() == pytest.approx(-0.7 * 5)


def test_a_clipped_importance_ratio_no_longer_pulls() -> None:
    logp = tensor(math.log(0.5)).requires_grad_()
    losses.inverse_propensity(logp, tensor(1.0), tensor(0.01), clip=10).sum().backward()
    assert logp.grad is not None
    assert logp.grad.item() == 0


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"), [(2.0, 1.0, -1.2), (0.5, 1.0, -0.5), (0.5, -1.0, 0.8), (2.0, -1.0, 2.0)]
)
def test_ppo_takes_the_more_pessimistic_of_the_plain_and_the_clipped_gain(
    ratio: float, advantage: float, expected: float
) -> None:
    loss = losses.ppo(tensor(math.log(ratio)), tensor(0.0), tensor(advantage), clip=0.2)
    assert loss.item() == pytest.approx(expected)


def test_kl_is_zero_at_the_reference_and_scipys_elsewhere() -> None:
    from scipy.stats import entropy

    p = np.array([[0.2, 0.3, 0.5]])
    q = np.array([[0.4, 0.4, 0.2]])
    logp, logq = torch.tensor(np.log(p)), torch.tensor(np.log(q))
    assert losses.kl(logp, logp).item() == 0
    assert losses.kl(logp, logq).item() == pytest.approx(float(entropy(p[0], q[0])))


def test_an_ineligible_reply_has_no_probability_no_gradient_and_no_kl() -> None:
    scores = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    eligible = torch.tensor([[True, True, False]])
    logp = losses.log_policy(scores, eligible)
    losses.kl(logp, losses.log_policy(tensor(1, 0, 9)[None], eligible)).sum().backward()
    assert logp[0, 2].item() == -math.inf
    assert scores.grad is not None
    assert scores.grad[0, 2].item() == 0
    assert torch.isfinite(scores.grad).all()


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1)), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_the_mean_ignores_what_has_no_weight(rows: list[tuple[float, float]]) -> None:
    values, weights = tensor(*(v for v, _ in rows)), tensor(*(w for _, w in rows))
    padded = losses.mean(torch.cat([values, tensor(99.0)]), torch.cat([weights, tensor(0.0)]))
    assert padded.item() == pytest.approx(losses.mean(values, weights).item())


def test_no_evidence_at_all_gives_zero_and_not_nan() -> None:
    assert losses.mean(tensor(3.0), tensor(0.0)).item() == 0
    assert losses.mean(tensor(3.0, 5.0)).item() == 4


LOSSES_OF_A_MARGIN = {
    "dpo": lambda m: losses.dpo(m, beta=0.4),
    "ipo": lambda m: losses.ipo(m, beta=0.4),
    "cdpo": lambda m: losses.conservative_dpo(m, beta=0.4, flip_rate=0.2),
    "rdpo": lambda m: losses.robust_dpo(m, beta=0.4, flip_rate=0.2),
    "kto": lambda m: losses.kto(m, torch.tensor([True, False, True]), torch.tensor(0.1), beta=0.4),
}


@pytest.mark.parametrize("name", list(LOSSES_OF_A_MARGIN))
def test_gradients_equal_finite_differences(name: str) -> None:
    margins = tensor(-1.3, 0.2, 2.5).requires_grad_()
    assert torch.autograd.gradcheck(LOSSES_OF_A_MARGIN[name], (margins,), eps=1e-6, atol=1e-6)


def test_a_comparison_of_equal_replies_costs_ln_2_and_its_gradient_is_that_of_the_log_odds() -> None:
    a = torch.tensor([0.5, 0.3], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([0.5, 0.6], dtype=torch.float64)
    loss = losses.compared(a, b)
    odds = 0.3 / 0.7 / (0.3 / 0.7 + 0.6 / 0.4)  # Bradley-Terry: strength over the sum of both strengths
    assert loss.tolist() == pytest.approx([np.log(2), -np.log(odds)])
    loss.sum().backward()
    assert a.grad is not None
    assert a.grad.tolist() == pytest.approx([-0.5 / 0.25, -(1 - odds) / 0.21])
