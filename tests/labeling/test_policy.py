from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from labeling.agreement import Kappa
from labeling.policy import ALL, DISAGREEMENTS, ENOUGH, NONE, Review, Why, band_of, decide, review_of
from labeling.ranking import RISK, language_of, required_overlap, share_of, slot_priority
from labeling.reliability import Judged, reliabilities, wilson


def kappa(value: float | None, low: float = -1.0, high: float = 1.0) -> Kappa:
    return Kappa(value, None if value is None else low, None if value is None else high, 50, 0.9)


@pytest.mark.parametrize(
    ("value", "band"),
    [(-0.2, ALL), (0.599, ALL), (0.6, DISAGREEMENTS), (0.799, DISAGREEMENTS), (0.8, NONE), (1.0, NONE)],
)
def test_the_band_is_the_row_of_the_table(value: float, band: str) -> None:
    assert band_of(value) == band


def test_fewer_than_fifty_pairs_send_only_disagreements_to_the_expert_whatever_kappa_is() -> None:
    assert decide(before=ALL, doubles=ENOUGH - 1, kappa=kappa(0.95, 0.9, 1.0)).band == DISAGREEMENTS
    assert decide(before=NONE, doubles=0, kappa=kappa(None)).why == Why.FEW


def test_a_band_stays_while_the_interval_does_not_exclude_it() -> None:
    found = decide(before=DISAGREEMENTS, doubles=ENOUGH, kappa=kappa(0.85, 0.75, 0.95))
    assert (found.band, found.why) == (DISAGREEMENTS, Why.WITHIN)


@pytest.mark.parametrize(
    ("before", "value", "low", "high", "band"),
    [
        (DISAGREEMENTS, 0.9, 0.81, 0.99, NONE), (DISAGREEMENTS, 0.4, 0.25, 0.55, ALL), (NONE, 0.7, 0.62, 0.78, DISAGREEMENTS),
        (ALL, 0.7, 0.61, 0.79, DISAGREEMENTS), (ALL, 0.95, 0.9, 1.0, NONE),
    ],
)  # fmt: skip
def test_a_band_changes_when_the_interval_excludes_it(
    before: str, value: float, low: float, high: float, band: str
) -> None:
    found = decide(before=before, doubles=ENOUGH, kappa=kappa(value, low, high))
    assert (found.band, found.why) == (band, Why.CHANGED)


def test_an_undefined_kappa_is_said_and_sends_disagreements_to_the_expert() -> None:
    found = decide(before=NONE, doubles=ENOUGH, kappa=kappa(None))
    assert (found.band, found.why) == (DISAGREEMENTS, Why.UNDEFINED)


@pytest.mark.parametrize(
    ("band", "agreed", "audit", "sampled", "review"),
    [
        (ALL, True, False, False, Review.EXPERT), (ALL, False, False, False, Review.EXPERT),
        (DISAGREEMENTS, True, False, True, Review.TAKE), (DISAGREEMENTS, False, False, False, Review.EXPERT),
        (NONE, True, False, False, Review.TAKE), (NONE, False, False, False, Review.CONSENSUS),
        (NONE, True, False, True, Review.EXPERT), (NONE, False, True, False, Review.EXPERT),
    ],
)  # fmt: skip
def test_what_happens_to_a_task_follows_from_the_band(
    band: str, agreed: bool, audit: bool, sampled: bool, review: Review
) -> None:
    assert review_of(band, agreed=agreed, single=False, audit=audit, sampled=sampled) == review


DAY = datetime(2026, 5, 1, tzinfo=UTC)


@settings(deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1), st.booleans(), st.booleans(), st.floats(0.1, 60))
def test_nothing_starves(old: float, new: float, old_risk: bool, new_risk: bool, patience: float) -> None:
    """Whatever opens (2 + RISK) · patience after a task comes after it, however much more it is worth."""
    first = slot_priority(value=old, risk=RISK * old_risk, opened_at=DAY, patience_days=patience)
    later = DAY + timedelta(days=(2 + RISK) * patience * 1.001)
    assert first > slot_priority(value=new, risk=RISK * new_risk, opened_at=later, patience_days=patience)


def test_of_two_that_opened_together_the_worthier_and_the_riskier_come_first() -> None:
    def at(value: float, risk: float) -> float:
        return slot_priority(value=value, risk=risk, opened_at=DAY, patience_days=7)

    assert at(0.9, 0) > at(0.2, 0)
    assert at(0.2, RISK) > at(0.2, 0)


def test_a_sampled_share_of_single_tasks_gets_two_annotations() -> None:
    draws = [share_of(uuid.UUID(int=n), "double") for n in range(4000)]
    doubled = sum(required_overlap(wanted=1, category=None, double_share=0.2, draw=d) == 2 for d in draws)
    assert 700 < doubled < 900
    assert required_overlap(wanted=3, category=None, double_share=1.0, draw=0.0) == 3
    assert required_overlap(wanted=1, category=4, double_share=1.0, draw=0.0) == 4


def test_draws_for_different_purposes_do_not_go_together() -> None:
    pairs = [
        (share_of(uuid.UUID(int=n), "double") < 0.5, share_of(uuid.UUID(int=n), "review") < 0.5) for n in range(2000)
    ]
    assert 900 < sum(a == b for a, b in pairs) < 1100


@pytest.mark.parametrize(("locale", "language"), [("pt-BR", "pt"), ("pt_BR", "pt"), ("JA", "ja"), ("", "")])
def test_the_language_is_the_first_part_of_the_locale(locale: str, language: str) -> None:
    assert language_of(locale) == language


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_the_interval_of_a_share_equals_statsmodels(right: int, wrong: int) -> None:
    total = right + wrong
    low, high = wilson(right, total)
    if total:
        assert (low, high) == pytest.approx(proportion_confint(right, total, method="wilson"), abs=1e-9)
    else:
        assert (low, high) == (0.0, 1.0)


def judged(right: int, total: int, *, recent: bool, category: int = 7) -> list[Judged]:
    return [Judged(1, category, i < right, recent) for i in range(total)]


def test_a_fall_beyond_chance_is_said_with_its_counts() -> None:
    whole = reliabilities([*judged(95, 100, recent=False), *judged(12, 20, recent=True)])[0]
    assert whole.category is None
    assert whole.falling
    assert (whole.before.right, whole.recent.total, whole.all.total) == (95, 20, 120)


def test_a_fall_that_chance_explains_is_none() -> None:
    assert not any(r.falling for r in reliabilities([*judged(95, 100, recent=False), *judged(17, 20, recent=True)]))
    assert not any(r.falling for r in reliabilities([*judged(95, 100, recent=False), *judged(0, 3, recent=True)]))
