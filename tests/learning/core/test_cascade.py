from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learning.core.cascade import MOST_SAY, choose_threshold, expected_losses, goes_up, say_of_fast, sureness


def probabilities(rng: np.random.Generator, n: int, k: int, sharpness: float = 2.0) -> np.ndarray:
    z = np.exp(rng.normal(0, sharpness, (n, k)))
    return z / z.sum(axis=1, keepdims=True)


CASES = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 6), st.floats(0, 0.2))


@given(case=CASES)
def test_the_expected_loss_stays_within_the_margin(case):
    seed, n, k, margin = case
    rng = np.random.default_rng(seed)
    fast, slow = probabilities(rng, n, k), probabilities(rng, n, k)
    found = choose_threshold(fast, slow, margin=margin)
    stays = ~goes_up(fast, found)
    assert expected_losses(fast, slow)[stays].sum() / n <= margin + 1e-12
    assert found.up_share == pytest.approx(1 - stays.mean())


@given(case=CASES)
def test_no_smaller_share_would_do(case):
    seed, n, k, margin = case
    rng = np.random.default_rng(seed)
    fast, slow = probabilities(rng, n, k), probabilities(rng, n, k)
    found = choose_threshold(fast, slow, margin=margin)
    ups = round(found.up_share * n)
    if ups:
        order = np.argsort(sureness(fast), kind="stable")
        assert expected_losses(fast, slow)[order[ups - 1 :]].sum() / n > margin


def test_a_fast_model_that_always_agrees_answers_everything():
    p = probabilities(np.random.default_rng(0), 50, 4)
    found = choose_threshold(p, p, margin=0.0)
    assert (found.up_share, found.expected_loss) == (0, 0)
    assert not goes_up(p, found).any()


def test_a_fast_model_that_knows_nothing_answers_nothing():
    rng = np.random.default_rng(0)
    slow = probabilities(rng, 400, 4, sharpness=6)
    found = choose_threshold(np.roll(slow, 1, axis=1), slow, margin=0.001)
    assert found.up_share > 0.95


def test_a_wider_margin_sends_fewer_texts_up():
    rng = np.random.default_rng(1)
    slow = probabilities(rng, 500, 5)
    fast = 0.7 * slow + 0.3 * probabilities(rng, 500, 5)
    shares = [choose_threshold(fast, slow, margin=m).up_share for m in (0.0, 0.01, 0.05)]
    assert shares[0] > shares[1] > shares[2]


def test_sureness_is_the_log_ratio_of_the_two_largest():
    assert sureness(np.array([[0.6, 0.3, 0.1], [0.5, 0.0, 0.5]])) == pytest.approx([np.log(2), 0])
    assert np.isinf(sureness(np.array([[1.0, 0.0]]))).all()


def test_the_loss_is_what_the_slow_model_believes():
    fast, slow = np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([[0.8, 0.2], [0.3, 0.7]])
    assert expected_losses(fast, slow) == pytest.approx([0.0, 0.4])


def test_the_expected_loss_is_the_real_one_where_the_slow_model_is_calibrated():
    rng = np.random.default_rng(4)
    slow = probabilities(rng, 40_000, 4)
    fast = 0.6 * slow + 0.4 * probabilities(rng, 40_000, 4)
    truth = (slow.cumsum(axis=1) > rng.random((len(slow), 1))).argmax(axis=1)
    found = choose_threshold(fast, slow, margin=0.01)
    answer = np.where(goes_up(fast, found), slow.argmax(axis=1), fast.argmax(axis=1))
    lost = (slow.argmax(axis=1) == truth).mean() - (answer == truth).mean()
    assert lost == pytest.approx(found.expected_loss, abs=0.003)


@pytest.mark.parametrize("shapes", [((0, 3), (0, 3)), ((4, 1), (4, 1)), ((4, 3), (5, 3))])
def test_senseless_input_is_refused(shapes):
    with pytest.raises(ValueError, match="at least two categories"):
        choose_threshold(np.ones(shapes[0]), np.ones(shapes[1]), margin=0.1)


def worlds(rng: np.random.Generator, n: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(fast, slow, labels) of two models that each see the truth through noise of their own."""
    labels = rng.integers(0, 4, n)
    fast, slow = (2.0 * np.eye(4)[labels] + rng.normal(0, 1, (n, 4)) for _ in range(2))
    return *(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in (fast, slow)), labels


def test_a_fast_model_that_knows_something_of_its_own_is_given_a_say_but_never_more_than_a_third():
    fast, slow, labels = worlds(np.random.default_rng(5))
    assert 0.2 < say_of_fast(fast, slow, labels) <= MOST_SAY


def test_a_fast_model_that_knows_nothing_has_no_say():
    fast, slow, labels = worlds(np.random.default_rng(6))
    assert say_of_fast(np.roll(fast, 1, axis=1), slow, labels) == 0


def test_without_enough_labels_the_slow_model_is_believed_alone():
    fast, slow, labels = worlds(np.random.default_rng(7))
    labels[50:] = -1
    assert say_of_fast(fast, slow, labels) == 0
    assert choose_threshold(fast, slow, margin=0.01, labels=labels) == choose_threshold(fast, slow, margin=0.01)


def test_labels_let_fewer_texts_go_up_where_the_fast_model_corrects_the_slow_one():
    fast, slow, labels = worlds(np.random.default_rng(8))
    alone, labeled = (choose_threshold(fast, slow, margin=0.01, labels=y) for y in (None, labels))
    assert labeled.up_share < alone.up_share
    assert labeled.expected_loss <= 0.01
