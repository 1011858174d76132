from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.scores import (
    ExplicitWeights,
    ImplicitWeights,
    Signal,
    evidence_of,
    explicit_score,
    implicit_score,
    nps_points,
    scores_of,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
kinds = {
    "impression": st.none(), "click": st.none(), "dwell": st.floats(0, 1e5), "scroll": st.floats(0, 1), "thumbs": st.sampled_from([1, -1]),
    "rating": st.integers(1, 5), "nps": st.integers(0, 10), "comment": st.floats(-1, 1),
}  # fmt: skip
signals = st.lists(
    st.one_of([st.tuples(st.just(k), v, st.integers(0, 1000)) for k, v in kinds.items()]), max_size=30
).map(lambda rows: [Signal(k, v, START + timedelta(seconds=t)) for k, v, t in rows])


def test_a_click_with_45_seconds_and_78_percent_of_the_page_scores_0_914():
    assert implicit_score(click=True, dwell=45.3, scroll=0.78) == pytest.approx(
        0.4 + 0.4 * (1 - math.exp(-2.265)) + 0.156
    )


@given(click=st.booleans(), dwell=st.floats(0, 1e6), more=st.floats(0, 1e6), scroll=st.floats(0, 1))
def test_the_implicit_score_lies_in_the_unit_interval_and_grows_with_dwell(click, dwell, more, scroll):
    low = implicit_score(click=click, dwell=dwell, scroll=scroll)
    assert 0 <= low <= implicit_score(click=click, dwell=dwell + more, scroll=scroll) <= 1 + 1e-12


@pytest.mark.parametrize(("answer", "points"), [(0, -100), (6, -100), (7, 0), (8, 0), (9, 100), (10, 100)])
def test_nps_answers_are_promoters_from_nine_and_detractors_to_six(answer, points):
    assert nps_points(answer) == points


def test_parts_that_were_not_given_drop_out_and_the_rest_is_rescaled():
    weights = ExplicitWeights()
    assert explicit_score(rating=5, weights=weights) == pytest.approx(1.0)
    assert explicit_score(rating=1, nps=10, weights=weights) == pytest.approx((0.5 * 0 + 0.2 * 1) / 0.7)


def test_no_opinion_is_no_score():
    assert explicit_score() is None


@given(signals, st.randoms())
def test_any_order_of_arrival_gives_the_same_scores(events, random):
    shuffled = list(events)
    random.shuffle(shuffled)
    weights = (ImplicitWeights(), ExplicitWeights())
    assert scores_of(evidence_of(shuffled), *weights) == scores_of(evidence_of(events), *weights)


def test_the_latest_thumb_counts():
    up = Signal("thumbs", 1, START)
    down = Signal("thumbs", -1, START + timedelta(seconds=1))
    assert scores_of(evidence_of([down, up]), ImplicitWeights(), ExplicitWeights()).thumbs == -1


def test_a_comment_whose_sentiment_is_not_known_yet_says_nothing():
    comment = Signal("comment", None, START)
    assert scores_of(evidence_of([comment]), ImplicitWeights(), ExplicitWeights()).explicit is None
