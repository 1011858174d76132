"""What a label counts: its source, and the feedback on the answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from learning.core.weights import feedback_share, joint, label_weight, reliability

shares = st.floats(0.01, 1.0)


@given(st.integers(0, 200), st.integers(0, 200))
def test_reliability_is_the_mean_of_the_posterior(right: int, wrong: int) -> None:
    assert reliability(right, right + wrong) == pytest.approx(stats.beta(9 + right, 1 + wrong).mean())


@given(st.floats(-3, 3))
def test_feedback_counts_between_nothing_and_once(f: float) -> None:
    assert feedback_share(f) == min(max(f, 0.0), 1.0)


@given(shares, st.none() | st.floats(-3, 3), st.floats(0, 10))
def test_feedback_never_takes_from_a_label_and_never_adds_more_than_its_weight(
    source: float, f: float | None, strength: float
) -> None:
    weight = label_weight(source, f, strength)
    assert source <= weight <= source * (1 + strength) + 1e-12
    assert label_weight(source, None, strength) == source


@given(st.lists(shares, min_size=1, max_size=5))
def test_who_agrees_makes_a_label_surer_than_any_of_them_alone(several: list[float]) -> None:
    assert max(several) - 1e-12 <= joint(several) <= 1.0


def test_more_right_answers_than_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="no share"):
        reliability(3, 2)
