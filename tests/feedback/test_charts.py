"""Charts as figures: ticks, places, marks and the table that says the same."""

from __future__ import annotations

import csv
import io
import itertools
import math
from xml.etree import ElementTree

import pytest
from django.template.loader import render_to_string
from hypothesis import given
from hypothesis import strategies as st

from feedback.charts import BOTTOM, HIGH, LEFT, RIGHT, TOP, WIDE, Chart, Limit, Point, Series, harmless, ticks

VALUES = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False).map(lambda v: round(v, 3))


def chart(*series: Series, **more: object) -> Chart:
    words = {"x_words": lambda x: f"{x:g}", "y_words": lambda y: f"{y:g}"}
    return Chart("c", "Title", series, ("x", "y"), (("1", "2"),), **{**words, **more})  # type: ignore[arg-type]


@given(VALUES, st.floats(min_value=1e-3, max_value=1e6))
def test_ticks_are_even_and_enclose_the_range(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert found[0] <= low + 1e-6 * max(abs(low), span)
    assert found[-1] >= low + span - 1e-6 * max(abs(low), span)
    assert 2 <= len(found) <= 8
    gaps = [b - a for a, b in itertools.pairwise(found)]
    # Ticks are rounded to ten places, and a difference of large numbers is no more exact than they are.
    assert max(gaps) == pytest.approx(min(gaps), rel=1e-6, abs=2e-10 + 4 * math.ulp(max(map(abs, found))))


@given(st.lists(st.tuples(st.integers(0, 400), VALUES), min_size=1, max_size=60, unique_by=lambda p: p[0]), VALUES)
def test_whatever_is_shown_lies_within_the_frame(places: list[tuple[int, float]], limit: float) -> None:
    points = tuple(Point(x, y, y - 1, y + 1) for x, y in sorted(places))
    drawn = chart(Series("s", points), limits=(Limit(limit, "limit"),)).drawing
    ups = [float(t.at) for t in (*drawn.up, *drawn.limits)]
    assert all(TOP - 0.1 <= y <= HIGH - BOTTOM + 0.1 for y in ups)
    assert all(LEFT - 0.1 <= float(t.at) <= WIDE - RIGHT + 0.1 for t in drawn.across)


def test_labels_of_the_horizontal_axis_do_not_overlap() -> None:
    words = {"x_words": lambda x: f"{x:g} January 2026"}
    drawn = chart(Series("s", tuple(Point(x, x) for x in range(40))), **words).drawing
    spans = []
    for t in drawn.across:
        width = 7 * len(t.words)
        start = float(t.at) - {"start": 0, "middle": width / 2, "end": width}[t.anchor]
        spans.append((start, start + width))
    assert len(spans) >= 3
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


def test_series_are_told_apart_without_colour() -> None:
    points = (Point(0, 0.0), Point(1, 1.0))
    drawn = chart(
        Series("a", points, "model", "joined", "circle"), Series("b", points, "model", "dashed", "square")
    ).drawing
    first, second = drawn.lines
    assert first.key != second.key
    assert first.line != second.line


def test_the_name_of_a_limit_stands_where_the_series_is_far() -> None:
    rising = chart(Series("s", (Point(0, 0.0), Point(1, 1.0))), limits=(Limit(1.0, "at most"),)).drawing.limits[0]
    falling = chart(Series("s", (Point(0, 1.0), Point(1, 0.0))), limits=(Limit(1.0, "at most"),)).drawing.limits[0]
    assert (rising.anchor, falling.anchor) == ("start", "end")


def test_a_chart_without_points_draws_nothing() -> None:
    empty = chart(Series("s", ()), limits=(Limit(1.0, "limit"),))
    assert not empty.shown
    assert empty.drawing.lines == empty.drawing.up == ()


def test_a_single_day_is_a_mark_with_its_interval() -> None:
    drawn = chart(Series("s", (Point(5, 0.5, 0.2, 0.7),))).drawing
    assert drawn.lines[0].path == ""
    assert drawn.lines[0].band.endswith("Z")
    assert len(drawn.lines[0].marks) == 1


def test_the_file_of_a_drawing_is_xml_and_escapes_names() -> None:
    drawn = chart(Series("<s>", (Point(0, 0.0), Point(1, 2.0))), limits=(Limit(1.0, "a < b"),))
    text = render_to_string("chart.svg", {"d": drawn.drawing, "title": "R & D", "style": ".a{fill:#000}"}).strip()
    root = ElementTree.fromstring(text)
    assert root.attrib["aria-label"] == "R & D"
    assert "a < b" in "".join(root.itertext())


@pytest.mark.parametrize("cell", ["=1+1", "+cmd", "-cmd|x", "@SUM(A1)"])
def test_no_cell_of_the_table_starts_a_formula(cell: str) -> None:
    table = Chart("c", "t", (), ("x",), ((cell,), ("-1.5",)), x_words=str, y_words=str)
    rows = list(csv.reader(io.StringIO(table.as_csv())))
    assert rows[1] == [f"'{cell}"]
    assert rows[2] == ["-1.5"]
    assert harmless("refund") == "refund"
