"""Curves as SVG, from the JSON of `benchmarks.label_efficiency` or `benchmarks.continual`.

    python -m benchmarks.plots out/label_efficiency.json docs/figures/label_efficiency.svg --strategies default,margin
    python -m benchmarks.plots out/continual.json docs/figures/continual.svg

Written by hand, so that a picture in the documentation needs no plotting library. Bands are one standard deviation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 460, 56, 190, 24, 48
COLOURS = ("#0b6e4f", "#c8553d", "#3d5a80", "#8d6a9f", "#b08900", "#5f6c72", "#1982c4", "#d1495b", "#6a994e", "#30343f")
Curve = list[tuple[float, float, float]]  # labels (or tasks), mean, standard deviation


def main() -> None:
    p = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    p.add_argument("report", type=Path)
    p.add_argument("picture", type=Path)
    p.add_argument("--strategies", help="comma list; all without it")
    args = p.parse_args()
    report = json.loads(args.report.read_text())
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    if "methods" in report:
        wanted = args.strategies.split(",") if args.strategies else list(report["methods"])
        shown = picture({name: tasks_curve(report["methods"][name]) for name in wanted}, across="tasks seen")
    else:
        names = args.strategies.split(",") if args.strategies else distinct(report)
        shown = picture({name: curve(report["strategies"][name]) for name in names})
    args.picture.write_text(shown, encoding="utf-8")


def tasks_curve(figures: dict[str, Any]) -> Curve:
    """Mean accuracy over the tasks seen so far, after each of them."""
    return [(float(n), sum(row) / len(row), 0.0) for n, row in enumerate(figures["by_task"], start=1)]


def distinct(report: dict[str, Any]) -> list[str]:
    """All strategies, best area first, the default once."""
    names = [
        name for name in report["strategies"] if name != report["default"] or "default" not in report["strategies"]
    ]
    return sorted(names, key=lambda name: -report["strategies"][name]["aulc"][0])


def curve(figures: dict[str, Any]) -> Curve:
    return sorted((float(n), mean, std) for n, (mean, std) in figures["accuracy_at"].items())


def picture(curves: dict[str, Curve], across: str = "labels") -> str:
    """One SVG document: a line and a band per strategy, labeled at the right in the order of the last points."""
    points = [point for line in curves.values() for point in line]
    most = max(n for n, _, _ in points)
    low = max(0.0, 0.05 * int(20 * min(mean for n, mean, _ in points if n >= most / 20)))
    parts = [
        *_axes(most, low, across),
        *(_line(line, most, low, COLOURS[i % 10]) for i, line in enumerate(curves.values())),
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, *_legend(curves), "</svg>", ""])


def _x(n: float, most: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * n / most


def _y(accuracy: float, low: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (max(accuracy, low) - low) / (1.0 - low)


def _axes(most: float, low: float, across: str) -> list[str]:
    parts = []
    for i in range(round((1.0 - low) / 0.05) + 1):
        y = _y(low + 0.05 * i, low)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * (low + 0.05 * i):.0f} %</text>')
    steps = int(most) if across != "labels" else 5
    for i in range(steps + 1):
        n = most * i / steps
        parts.append(f'<text x="{_x(n, most):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{n:,.0f}</text>')
    middle = _x(most / 2, most)
    return [*parts, f'<text x="{middle:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{across}</text>']


def _line(line: Curve, most: float, low: float, colour: str) -> str:
    centre = " ".join(f"{_x(n, most):.1f},{_y(mean, low):.1f}" for n, mean, _ in line)
    upper = [f"{_x(n, most):.1f},{_y(mean + std, low):.1f}" for n, mean, std in line]
    lower = [f"{_x(n, most):.1f},{_y(mean - std, low):.1f}" for n, mean, std in reversed(line)]
    band = f'<polygon points="{" ".join([*upper, *lower])}" fill="{colour}" opacity="0.15"/>'
    return f'{band}\n<polyline points="{centre}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _legend(curves: dict[str, Curve]) -> Sequence[str]:
    names = list(curves)
    ranked = sorted(range(len(names)), key=lambda i: -curves[names[i]][-1][1])
    x = WIDTH - RIGHT + 14
    return [
        f'<text x="{x}" y="{TOP + 14 + 18 * row}" fill="{COLOURS[i % 10]}">{escape(names[i])}</text>'
        for row, i in enumerate(ranked)
    ]


if __name__ == "__main__":
    main()
