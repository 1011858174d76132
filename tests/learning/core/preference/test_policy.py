"""The reply policy: masks, exploration, propensities, and the ONNX graph that serves it."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learning.core.preference.policy import (
    Hidden,
    PolicyParityError,
    ReplyPolicy,
    draw,
    export_policy,
    policy_graph,
)


def policy(seed: int = 0, *, replies: int = 5, d: int = 8, hidden: int = 0, **options: object) -> ReplyPolicy:
    rng = np.random.default_rng(seed)
    layer = None
    if hidden:
        layer = Hidden(
            rng.standard_normal((d, hidden)), rng.standard_normal(hidden), rng.standard_normal((hidden, replies))
        )
    weights = rng.standard_normal((d, replies)).astype(np.float32)
    return ReplyPolicy(weights, rng.standard_normal(replies).astype(np.float32), layer, **options)  # type: ignore[arg-type]


def inquiries(n: int, d: int = 8, seed: int = 1) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def serve(graph: bytes, x: np.ndarray, eligible: np.ndarray, exploration: float = 0.0) -> np.ndarray:
    feed = {"embedding": x, "eligible": eligible, "exploration": np.array(exploration, dtype=np.float32)}
    return ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(["probabilities"], feed)[0]


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_probabilities_sum_to_one_and_ineligible_replies_have_none(seed: int, exploration: float) -> None:
    rng = np.random.default_rng(seed)
    eligible = rng.random((6, 5)) < 0.5
    eligible[np.arange(6), rng.integers(0, 5, 6)] = True
    p = policy(seed).probabilities(inquiries(6), eligible, exploration=exploration)
    assert p.sum(axis=1) == pytest.approx(np.ones(6))
    assert (p[~eligible] == 0).all()


def test_every_eligible_reply_is_explored_with_a_known_propensity() -> None:
    eligible = np.array([[True, True, False, True, False]])
    p = policy(temperature=0.01).probabilities(inquiries(1), eligible, exploration=0.3)
    assert p[eligible].min() == pytest.approx(0.1)


def test_the_drawn_replies_follow_the_probabilities_that_are_logged() -> None:
    p = np.tile([[0.5, 0.0, 0.2, 0.3]], (20_000, 1))
    chosen, propensity = draw(p, np.random.default_rng(0))
    assert np.bincount(chosen, minlength=4) / 20_000 == pytest.approx(p[0], abs=0.015)
    assert np.array_equal(propensity, p[0][chosen])
    assert propensity.min() > 0


def test_a_reply_of_probability_zero_is_not_drawn_at_either_end() -> None:
    class Ends:
        def random(self, shape: tuple[int, int]) -> np.ndarray:
            return np.array([[0.0], [np.nextafter(1.0, 0.0)]])

    chosen, _ = draw(np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]), Ends())  # type: ignore[arg-type]
    assert chosen.tolist() == [1, 1]


def test_an_inquiry_without_eligible_replies_goes_to_a_person() -> None:
    asked = policy().with_person(-2.0)
    p = asked.probabilities(inquiries(2), np.zeros((2, 6), dtype=bool))
    assert asked.person == 5
    assert p[:, 5].tolist() == [1.0, 1.0]


def test_without_a_person_an_inquiry_that_nothing_fits_is_an_error() -> None:
    with pytest.raises(ValueError, match="no eligible reply"):
        policy().probabilities(inquiries(1), np.zeros((1, 5), dtype=bool))


def test_asking_a_person_wins_exactly_where_no_reply_scores_above_it() -> None:
    plain = policy(hidden=4)
    best = plain.scores(inquiries(50)).max(axis=1)
    asked = plain.with_person(float(np.median(best)))
    person_first = asked.scores(inquiries(50)).argmax(axis=1) == asked.person
    assert np.array_equal(person_first, best < np.float32(np.median(best)))


def test_folding_the_temperature_into_the_scores_changes_no_probability() -> None:
    warm = policy(hidden=4, temperature=2.5)
    assert warm.folded().probabilities(inquiries(5)) == pytest.approx(warm.probabilities(inquiries(5)))
    assert warm.folded().temperature == 1


@pytest.mark.parametrize("hidden", [0, 16])
@pytest.mark.parametrize("person", [False, True])
def test_the_graph_gives_the_trained_probabilities(hidden: int, person: bool) -> None:
    trained = policy(hidden=hidden, temperature=0.3)
    trained = trained.with_person(0.5) if person else trained
    x = inquiries(200)
    eligible = np.random.default_rng(2).random((200, trained.replies)) < 0.6
    eligible[:, 0] = True
    for exploration in (0.0, 0.1):
        served = serve(policy_graph(trained), x, eligible, exploration)
        assert np.abs(served - trained.probabilities(x, eligible, exploration=exploration)).max() <= 1e-5
        assert (served[~trained.allowed(eligible)] == 0).all()


def test_an_export_reports_its_parity_and_its_bytes_do_not_change() -> None:
    graph, gap = export_policy(policy(), check_on=inquiries(100))
    assert 0 <= gap <= 1e-5
    assert graph == policy_graph(policy())


def test_an_export_that_lost_precision_is_refused() -> None:
    steep = ReplyPolicy(np.full((8, 2), 1e9) + np.array([0.0, 3.0]), np.zeros(2))
    with pytest.raises(PolicyParityError, match="differs by"):
        export_policy(steep, check_on=np.abs(inquiries(20)))


def test_shapes_and_temperatures_that_make_no_policy_are_refused() -> None:
    with pytest.raises(ValueError, match="temperature"):
        policy(temperature=0.0)
    with pytest.raises(ValueError, match="one bias per reply"):
        ReplyPolicy(np.zeros((3, 2)), np.zeros(3))
