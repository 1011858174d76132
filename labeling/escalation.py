"""How urgent a case is, and when its clocks run out. Pure: plain values in, plain values out.

Priority counts in points, and a point is worth `POINT` of waiting: p(t) = points + waited / POINT. As every case ages at the
same rate, the order of two cases never changes while they wait: it is the order of `standing`, a moment that can be stored
and indexed, and nothing starves.

A service clock runs while the wall clock of the project's time zone shows an opening hour on a day that is no holiday. On the
day of a time change an opening hour that is skipped is not counted, and one that comes twice is counted twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

POINT = timedelta(hours=8)
LEVELS = ("urgent", "high", "normal", "low")
# The points from which a case has a level; a person who sets a level gives the case exactly these.
LEVEL_POINTS = {"urgent": 2.0, "high": 1.0, "normal": 0.5, "low": 0.0}
# How long an unbroken wait for an opening hour may be before a clock is said never to run out.
HORIZON = timedelta(days=800)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
DAY_MINUTES = 24 * 60
_SPAN = re.compile(r"(\d{1,2}):(\d{2})\s*[-–]\s*(\d{1,2}):(\d{2})")


@dataclass(frozen=True)
class Facts:
    """What is known of a case when it is opened. `sentiment` in [−1, 1], `value` of the customer in [0, 1]."""

    high_risk: bool = False
    sentiment: float = 0.0
    value: float = 0.0
    asked: bool = False


def points(facts: Facts) -> float:
    """2 for a risky category, up to 2 for anger, up to 1 for the customer's value, ½ where somebody asked for a person.

    >>> points(Facts(high_risk=True)), points(Facts(sentiment=-0.5)), points(Facts(sentiment=0.9))
    (2.0, 1.0, 0.0)
    """
    risk = 2.0 if facts.high_risk else 0.0
    return risk + 2 * max(-facts.sentiment, 0.0) + facts.value + (0.5 if facts.asked else 0.0)


def level_of(given: float) -> str:
    """The level of a number of points.

    >>> level_of(2.4), level_of(0.6), level_of(0.0)
    ('urgent', 'normal', 'low')
    """
    return next((level for level in LEVELS if given >= LEVEL_POINTS[level]), LEVELS[-1])


def priority_at(given: float, waited: timedelta) -> float:
    """The priority after a wait."""
    return given + waited / POINT


def standing(given: float, opened_at: datetime) -> datetime:
    """When a case without points would have been opened to be as urgent as this one: cases are served in this order."""
    return opened_at - given * POINT


def value_of(metadata: Mapping[str, Any], key: str, tiers: Mapping[str, float]) -> float:
    """The customer's value in [0, 1]: a number under `key` (cut to 0–1), or the value of the tier that is named there.

    What is absent or unreadable is worth 0: nobody is served later for it.

    >>> value_of({"tier": "Gold"}, "tier", {"gold": 0.8}), value_of({"tier": 7}, "tier", {}), value_of({}, "tier", {})
    (0.8, 1.0, 0.0)
    """
    given = metadata.get(key)
    if isinstance(given, str):
        given = tiers.get(given.strip().casefold(), 0.0)
    if isinstance(given, bool) or not isinstance(given, int | float) or math.isnan(given):
        return 0.0
    return min(max(float(given), 0.0), 1.0)


Hours = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Calendar:
    """Opening hours: for each weekday from Monday, spans of minutes of the day [from, to), in order and apart."""

    zone: ZoneInfo
    week: tuple[Hours, ...]
    holidays: frozenset[date] = frozenset()

    def opening(self, day: date) -> Hours:
        return () if day in self.holidays else self.week[day.weekday()]


def parse_hours(text: str) -> Hours:
    """ "09:00–12:00, 13:00–18:00" as spans; nothing is a closed day. ValueError with a word for the fault.

    >>> parse_hours("9:00-12:00, 13:00-24:00")
    ((540, 720), (780, 1440))
    """
    spans: list[tuple[int, int]] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        found = _SPAN.fullmatch(part)
        if found is None:
            raise ValueError("format")
        a, b, c, d = (int(n) for n in found.groups())
        low, high = 60 * a + b, 60 * c + d
        if b > 59 or d > 59 or high > DAY_MINUTES:
            raise ValueError("format")
        if low >= high or (spans and low < spans[-1][1]):
            raise ValueError("order")
        spans.append((low, high))
    return tuple(spans)


def format_hours(hours: Hours) -> str:
    """The inverse of `parse_hours`."""
    return ", ".join(f"{a // 60:02}:{a % 60:02}–{b // 60:02}:{b % 60:02}" for a, b in hours)


def open_spans(calendar: Calendar, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The parts of [start, end) in which the clock runs, in UTC and in order."""
    for low, high, offset in _even(calendar.zone, start.astimezone(UTC), end.astimezone(UTC)):
        day = (low + offset).date()
        while (midnight := datetime.combine(day, time(), UTC) - offset) < high:
            for first, last in calendar.opening(day):
                a, b = max(low, midnight + first * MINUTE), min(high, midnight + last * MINUTE)
                if a < b:
                    yield a, b
            day += DAY


def worked(calendar: Calendar, start: datetime, end: datetime) -> timedelta:
    """How long the clock ran between two moments; nothing where the second is not after the first."""
    return sum((b - a for a, b in open_spans(calendar, start, end)), timedelta())


def due(calendar: Calendar, start: datetime, target: timedelta) -> datetime | None:
    """The first moment at which the clock has run for `target`; None where it does not within `HORIZON`."""
    if target <= timedelta():
        return start
    for a, b in open_spans(calendar, start, start + HORIZON):
        if b - a >= target:
            return a + target
        target -= b - a
    return None


def _even(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """[start, end) cut where the zone's offset from UTC changes (and once a day)."""
    low = start
    while low < end:
        offset, high = _offset(zone, low), min(low + DAY, end)
        if _offset(zone, high) != offset:
            high = min(_change(zone, low, high), high)
        yield low, high, offset
        low = high


def _change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The whole second at which the offset changes between two moments whose offsets differ."""
    before = _offset(zone, low)
    a, b = math.floor(low.timestamp()), math.ceil(high.timestamp())
    while b - a > 1:
        middle = (a + b) // 2
        a, b = (middle, b) if _offset(zone, datetime.fromtimestamp(middle, UTC)) == before else (a, middle)
    return datetime.fromtimestamp(b, UTC)


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    found = moment.astimezone(zone).utcoffset()
    assert found is not None
    return found
