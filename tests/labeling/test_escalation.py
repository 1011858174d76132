"""Priority and service clocks, against a counter that looks at the wall clock minute by minute."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.escalation import (
    HORIZON,
    LEVEL_POINTS,
    LEVELS,
    MINUTE,
    POINT,
    Calendar,
    Facts,
    due,
    format_hours,
    level_of,
    open_spans,
    parse_hours,
    points,
    priority_at,
    standing,
    value_of,
    worked,
)

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Tokyo",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/Sao_Paulo",
]
# Around changes of the clock: Berlin and New York in both directions, Lord Howe's half hour, Sao Paulo's at midnight.
STARTS = [
    datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC), datetime(2026, 3, 6, tzinfo=UTC),
    datetime(2026, 10, 30, tzinfo=UTC), datetime(2026, 4, 3, tzinfo=UTC), datetime(2026, 10, 2, tzinfo=UTC),
    datetime(2018, 11, 2, tzinfo=UTC), datetime(2019, 2, 15, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC),
]  # fmt: skip
facts = st.builds(
    Facts, high_risk=st.booleans(), sentiment=st.floats(-1, 1), value=st.floats(0, 1), asked=st.booleans()
)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@st.composite
def calendars(draw: st.DrawFn) -> Calendar:
    def hours() -> tuple[tuple[int, int], ...]:
        marks = sorted(draw(st.sets(st.integers(0, 1440), min_size=0, max_size=4)))
        return tuple(zip(marks[::2], marks[1::2], strict=False))

    start = draw(st.sampled_from(STARTS)).date()
    holidays = draw(st.frozensets(st.integers(0, 5).map(lambda n: start + timedelta(days=n)), max_size=2))
    return Calendar(ZoneInfo(draw(st.sampled_from(ZONES))), tuple(hours() for _ in range(7)), holidays)


moments = st.builds(lambda s, m: s + m * MINUTE, st.sampled_from(STARTS), st.integers(0, 3 * 1440))


def runs(calendar: Calendar, minute: datetime) -> bool:
    """The oracle: what the wall clock shows at that minute."""
    local = minute.astimezone(calendar.zone)
    of_day = local.hour * 60 + local.minute
    day_open = calendar.week[local.weekday()] if local.date() not in calendar.holidays else ()
    return any(a <= of_day < b for a, b in day_open)


def minutes_by_hand(calendar: Calendar, start: datetime, end: datetime) -> int:
    return sum(runs(calendar, start + i * MINUTE) for i in range((end - start) // MINUTE))


class TestClock:
    @given(calendars(), moments, st.integers(0, 3 * 1440))
    def test_it_counts_what_a_minute_counter_counts(self, calendar: Calendar, start: datetime, length: int) -> None:
        end = start + length * MINUTE
        assert worked(calendar, start, end) == minutes_by_hand(calendar, start, end) * MINUTE

    @settings(deadline=None)
    @given(calendars(), moments, st.integers(1, 1500))
    def test_it_runs_out_at_the_first_minute_by_which_the_target_was_worked(
        self, calendar: Calendar, start: datetime, target: int
    ) -> None:
        found = due(calendar, start, target * MINUTE)
        if found is None:  # a minute a week does not get there in any useful time
            assert worked(calendar, start, start + HORIZON) < target * MINUTE
        else:
            assert worked(calendar, start, found) == target * MINUTE
            assert worked(calendar, start, found - MINUTE) == (target - 1) * MINUTE

    @given(calendars(), moments, st.integers(0, 2000), st.integers(0, 2000))
    def test_spans_of_time_add_up(self, calendar: Calendar, start: datetime, a: int, b: int) -> None:
        middle, end = start + a * MINUTE, start + (a + b) * MINUTE
        assert worked(calendar, start, middle) + worked(calendar, middle, end) == worked(calendar, start, end)

    @given(calendars(), moments)
    def test_spans_come_in_order_and_apart(self, calendar: Calendar, start: datetime) -> None:
        edges = [m for span in open_spans(calendar, start, start + timedelta(days=4)) for m in span]
        assert edges == sorted(edges)

    def test_a_friday_evening_case_is_due_on_monday(self) -> None:
        week = (*[parse_hours("09:00-18:00")] * 5, (), ())
        calendar = Calendar(ZoneInfo("Asia/Tokyo"), week, frozenset({date(2026, 5, 4)}))
        friday = datetime(2026, 5, 1, 17, 30, tzinfo=ZoneInfo("Asia/Tokyo"))
        # 30 minutes on Friday, Monday is a holiday, so another 30 on Tuesday.
        assert due(calendar, friday, timedelta(hours=1)) == datetime(2026, 5, 5, 9, 30, tzinfo=ZoneInfo("Asia/Tokyo"))

    def test_an_hour_that_comes_twice_counts_twice_and_one_that_is_skipped_does_not(self) -> None:
        night = Calendar(ZoneInfo("Europe/Berlin"), (parse_hours("02:00-03:00"),) * 7)
        for day, hours in ((date(2026, 10, 25), 2), (date(2026, 3, 29), 0), (date(2026, 3, 28), 1)):
            start = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo("Europe/Berlin"))
            assert worked(night, start, start + timedelta(hours=23)) == timedelta(hours=hours)

    def test_seconds_are_kept(self) -> None:
        always = Calendar(ZoneInfo("UTC"), (((0, 1440),),) * 7)
        start = NOON + timedelta(seconds=7, microseconds=5)
        assert due(always, start, timedelta(hours=30)) == start + timedelta(hours=30)

    def test_a_desk_that_never_opens_has_no_due_moment(self) -> None:
        assert due(Calendar(ZoneInfo("UTC"), ((),) * 7), NOON, MINUTE) is None

    def test_a_target_of_nothing_is_due_at_once(self) -> None:
        assert due(Calendar(ZoneInfo("UTC"), ((),) * 7), NOON, timedelta()) == NOON


class TestHours:
    @given(st.sets(st.integers(0, 1440), max_size=6).map(sorted))
    def test_what_is_written_is_read_back(self, marks: list[int]) -> None:
        hours = tuple(zip(marks[::2], marks[1::2], strict=False))
        assert parse_hours(format_hours(hours)) == hours

    @pytest.mark.parametrize(
        ("text", "fault"),
        [("9-12", "format"), ("25:00-26:00", "format"), ("09:60-10:00", "format"), ("09:00-24:01", "format"), ("noon", "format"),
         ("12:00-09:00", "order"), ("09:00-09:00", "order"), ("09:00-12:00,11:00-13:00", "order")],
    )  # fmt: skip
    def test_a_fault_has_a_word(self, text: str, fault: str) -> None:
        with pytest.raises(ValueError, match=fault):
            parse_hours(text)


class TestPriority:
    @given(facts, facts, st.integers(0, 10_000), st.integers(0, 10_000))
    def test_more_of_everything_is_never_less_urgent(self, a: Facts, b: Facts, waited: int, longer: int) -> None:
        less = Facts(
            a.high_risk and b.high_risk, max(a.sentiment, b.sentiment), min(a.value, b.value), a.asked and b.asked
        )
        more = Facts(
            a.high_risk or b.high_risk, min(a.sentiment, b.sentiment), max(a.value, b.value), a.asked or b.asked
        )
        assert points(less) <= points(more)
        assert LEVELS.index(level_of(points(less))) >= LEVELS.index(level_of(points(more)))
        early, late = sorted((waited, longer))
        assert priority_at(points(less), early * MINUTE) <= priority_at(points(more), late * MINUTE)

    @given(facts, st.integers(0, 100), st.sampled_from(["risk", "anger", "value", "asked"]))
    def test_each_fact_alone_raises_it(self, base: Facts, by: int, which: str) -> None:
        raised = {
            "risk": Facts(True, base.sentiment, base.value, base.asked),
            "anger": Facts(base.high_risk, base.sentiment - by / 50, base.value, base.asked),
            "value": Facts(base.high_risk, base.sentiment, base.value + by / 100, base.asked),
            "asked": Facts(base.high_risk, base.sentiment, base.value, True),
        }[which]
        assert points(raised) >= points(base)

    @given(facts, facts, st.integers(0, 5000), st.integers(0, 5000), st.integers(0, 5000))
    def test_the_stored_order_is_the_order_of_the_priorities_at_any_moment(
        self, a: Facts, b: Facts, opened_a: int, opened_b: int, later: int
    ) -> None:
        first, second = NOON + opened_a * MINUTE, NOON + opened_b * MINUTE
        now = max(first, second) + later * MINUTE
        pa, pb = priority_at(points(a), now - first), priority_at(points(b), now - second)
        if not math.isclose(pa, pb, abs_tol=1e-6):
            assert (pa > pb) == (standing(points(a), first) < standing(points(b), second))

    @given(facts)
    def test_nothing_starves(self, worst: Facts) -> None:
        """The dullest case passes the most urgent one that is opened after it has waited for that one's points."""
        late = NOON + points(worst) * POINT + MINUTE
        assert standing(0.0, NOON) < standing(points(worst), late)

    def test_a_level_that_a_person_sets_has_its_own_points(self) -> None:
        assert [level_of(LEVEL_POINTS[level]) for level in LEVELS] == list(LEVELS)

    @given(st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(), st.lists(st.integers())))
    def test_any_customer_value_is_a_share(self, given_value: object) -> None:
        assert 0.0 <= value_of({"v": given_value}, "v", {"gold": 0.9}) <= 1.0

    def test_a_truth_value_or_an_unknown_tier_is_worth_nothing(self) -> None:
        assert [value_of({"v": v}, "v", {"gold": 0.9}) for v in (True, math.nan, "silver", None, " GOLD ")] == [
            0,
            0,
            0,
            0,
            0.9,
        ]
