"""Charts as plain figures: where lines, marks, bands and ticks lie, and the table that says the same.

Pure. `config/templates/chart.html` draws one inside a page, `chart.svg` as a file; neither knows what it shows. Series are told
apart by the shape of their marks and the pattern of their lines, so that colour is never needed to read one.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

WIDE, HIGH = 640.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 14.0, 14.0, 30.0
MOST_TICKS = 6
SHAPES = ("circle", "square", "triangle", "diamond")
LETTER = 7.0  # width of a letter of a label, about


@dataclass(frozen=True)
class Point:
    """One value, with its interval where it has one; `shape` overrides that of the series."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    shape: str = ""


@dataclass(frozen=True)
class Series:
    """`tone` is a class of the style sheet: model, person, bad or quiet. `line`: joined, dashed, or marks alone (''); `shape`: '' for a
    line without marks."""

    name: str
    points: tuple[Point, ...]
    tone: str = "model"
    line: str = "joined"
    shape: str = "circle"


@dataclass(frozen=True)
class Limit:
    """A horizontal line with its name: a threshold, a bound, a target."""

    value: float
    name: str


@dataclass(frozen=True)
class Chart:
    """What is shown. `x_words` says a horizontal position, `y_words` a value; `head` and `rows` are the equal table."""

    key: str
    title: str
    series: tuple[Series, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    x_words: Callable[[float], str] = field(repr=False)
    y_words: Callable[[float], str] = field(repr=False)
    limits: tuple[Limit, ...] = ()
    bottom: float | None = None
    top: float | None = None
    note: str = ""
    query: str = ""  # what its files need in their address

    @property
    def shown(self) -> bool:
        """Whether there is anything to see."""
        return any(s.points for s in self.series)

    @cached_property
    def drawing(self) -> Drawing:
        return draw(self)

    def as_csv(self) -> str:
        """The table, as a file. Cells that a spreadsheet would take for a formula are quoted as text."""
        out = io.StringIO()
        csv.writer(out).writerows([[harmless(cell) for cell in row] for row in (self.head, *self.rows)])
        return out.getvalue()


def harmless(cell: str) -> str:
    """A cell that no spreadsheet runs: numbers stay numbers."""
    try:
        float(cell)
    except ValueError:
        return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
    return cell


@dataclass(frozen=True)
class Mark:
    path: str
    words: str


@dataclass(frozen=True)
class Line:
    """A drawn series: the path of its line, the outline of its interval, and its marks."""

    name: str
    tone: str
    line: str
    path: str
    band: str
    marks: tuple[Mark, ...]
    key: str  # the mark of the legend


@dataclass(frozen=True)
class Tick:
    at: str
    words: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Named(Tick):
    """A limit's line, and where its name stands beside it."""

    x: str = ""
    dy: str = "-5"


@dataclass(frozen=True)
class Drawing:
    """SVG numbers as strings, never in a locale's own format. ``across`` are ticks of x, ``up`` of y."""

    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    limits: tuple[Named, ...]
    width: str = f"{WIDE:g}"
    height: str = f"{HIGH:g}"
    left: str = f"{LEFT:g}"
    right: str = f"{WIDE - RIGHT:g}"
    floor: str = f"{HIGH - BOTTOM:g}"
    label_left: str = f"{LEFT - 8:g}"
    label_floor: str = f"{HIGH - 8:g}"


@dataclass(frozen=True)
class Scale:
    """Values to places."""

    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        span = self.x1 - self.x0
        share = (value - self.x0) / span if span > 0 else 0.5
        return LEFT + share * (WIDE - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (min(max(value, self.y0), self.y1) - self.y0) / (self.y1 - self.y0)
        return HIGH - BOTTOM - share * (HIGH - TOP - BOTTOM)


def draw(chart: Chart) -> Drawing:
    """Places of everything. A chart without points has an empty drawing."""
    points = [p for s in chart.series for p in s.points]
    if not points:
        return Drawing((), (), (), ())
    steps = ticks(*_range(chart, points))
    scale = Scale(min(p.x for p in points), max(p.x for p in points), steps[0], steps[-1])
    up = tuple(Tick(_n(scale.y(v)), chart.y_words(v)) for v in steps)
    limits = tuple(_limit(at, chart, scale) for at in chart.limits)
    lines = tuple(_line(s, scale, chart) for s in chart.series if s.points)
    return Drawing(lines, _across(points, scale, chart.x_words), up, limits)


def _limit(at: Limit, chart: Chart, scale: Scale) -> Named:
    """A limit and its name, at that end and on that side of the line where the series leave room."""
    y, ends = scale.y(at.value), []
    for n in (0, -1):
        gaps = [scale.y(s.points[n].y) - y for s in chart.series if s.points]
        ends.append(min(gaps, key=abs))
    right = abs(ends[1]) > abs(ends[0])
    above = ends[right] >= 0 or y > HIGH - BOTTOM - 16
    x, anchor = (WIDE - RIGHT, "end") if right else (LEFT + 4, "start")
    return Named(_n(y), at.name, anchor, f"{x:g}", "-5" if above else "14")


def _range(chart: Chart, points: Sequence[Point]) -> tuple[float, float]:
    values = [v for p in points for v in (p.y, p.low, p.high) if v is not None] + [at.value for at in chart.limits]
    low = min(values) if chart.bottom is None else chart.bottom
    high = max(values) if chart.top is None else chart.top
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def ticks(low: float, high: float, most: int = MOST_TICKS) -> list[float]:
    """Round values that enclose [low, high], at most `most` or one more.

    >>> ticks(0.52, 0.91)
    [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    """
    rough = (high - low) / (most - 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(first, max(last, first + 1) + 1)]


def _across(points: Sequence[Point], scale: Scale, words: Callable[[float], str]) -> tuple[Tick, ...]:
    """As many of the points' own positions as fit, the first and the last among them."""
    known = sorted({p.x for p in points})
    last, gap = scale.x(known[-1]), 1.5 * LETTER * max(len(words(x)) for x in (known[0], known[-1])) + 16
    chosen = [known[0]]
    for x in known[1:-1]:
        if scale.x(x) - scale.x(chosen[-1]) >= gap and last - scale.x(x) >= gap:
            chosen.append(x)
    ends = {known[0]: "start", known[-1]: "end"} if len(known) > 1 else {}
    chosen += known[-1:] if len(known) > 1 else []
    return tuple(Tick(_n(scale.x(x)), words(x), ends.get(x, "middle")) for x in chosen)


def _line(series: Series, scale: Scale, chart: Chart) -> Line:
    places = [(scale.x(p.x), scale.y(p.y)) for p in series.points]
    path = "M" + " L".join(f"{_n(x)} {_n(y)}" for x, y in places) if series.line and len(places) > 1 else ""
    marks = tuple(
        Mark(_mark(p.shape or series.shape, *at), f"{chart.x_words(p.x)}: {chart.y_words(p.y)}")
        for p, at in zip(series.points, places, strict=True)
        if p.shape or series.shape
    )
    key = _mark(series.shape, 7, 7) if series.shape else "M0 7 L14 7"
    return Line(series.name, series.tone, series.line, path, _band(series, scale), marks, key)


def _band(series: Series, scale: Scale) -> str:
    """The interval: an area between its ends, or a bar where there is one point."""
    held = [
        (scale.x(p.x), scale.y(p.low), scale.y(p.high))
        for p in series.points
        if p.low is not None and p.high is not None
    ]
    if not held:
        return ""
    if len(held) == 1:
        held = [(held[0][0] + dx, *held[0][1:]) for dx in (-3, 3)]
    there = [f"{_n(x)} {_n(low)}" for x, low, _ in held]
    back = [f"{_n(x)} {_n(high)}" for x, _, high in reversed(held)]
    return f"M{' L'.join([*there, *back])} Z"


def _mark(shape: str, x: float, y: float) -> str:
    """The outline of a mark around a place."""
    a, b, c, d = (_n(v) for v in (x - 4, x + 4, y - 4, y + 4))
    if shape == "square":
        return f"M{a} {c} L{b} {c} L{b} {d} L{a} {d} Z"
    if shape == "triangle":
        return f"M{_n(x)} {_n(y - 5.5)} L{_n(x + 5)} {_n(y + 3.5)} L{_n(x - 5)} {_n(y + 3.5)} Z"
    if shape == "diamond":
        return f"M{_n(x)} {_n(y - 5)} L{_n(x + 5)} {_n(y)} L{_n(x)} {_n(y + 5)} L{_n(x - 5)} {_n(y)} Z"
    return f"M{_n(x - 3.5)} {_n(y)} a3.5 3.5 0 1 0 7 0 a3.5 3.5 0 1 0 -7 0 Z"


def _n(value: float) -> str:
    return f"{value:.1f}"
