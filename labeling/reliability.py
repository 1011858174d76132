"""How often an annotator is right, as an interval; and whether it has fallen. Pure: counts in, numbers out.

Right and wrong come from known (gold) items and from items that an expert decided. The interval is Wilson's (1927) at 95 %:
it needs no prior and keeps its coverage for small counts and shares near 0 or 1. A fall is said only where the interval of
the recent weeks lies wholly below that of the weeks before; it is a suggestion to the lead, never an exclusion.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

from labeling.agreement import Z95

# Fewer answers than this in either span say nothing about a fall.
LEAST = 10


@dataclass(frozen=True)
class Share:
    """`right` of `total` answers; `low` and `high` are the interval, [0, 1] where nothing is known."""

    right: int
    total: int

    @property
    def value(self) -> float | None:
        return self.right / self.total if self.total else None

    @property
    def low(self) -> float:
        return wilson(self.right, self.total)[0]

    @property
    def high(self) -> float:
        return wilson(self.right, self.total)[1]

    def as_json(self) -> dict[str, float | int | None]:
        return {"right": self.right, "total": self.total, "value": self.value, "low": self.low, "high": self.high}


def wilson(right: int, total: int) -> tuple[float, float]:
    """Wilson's score interval of a share at 95 %; (0, 1) without answers.

    >>> [round(x, 4) for x in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    if not 0 <= right <= total:
        raise ValueError(f"{right} of {total} is no share")
    if total == 0:
        return 0.0, 1.0
    z2 = Z95 * Z95
    p = right / total
    middle = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 / (1 + z2 / total) * sqrt(p * (1 - p) / total + z2 / (4 * total * total))
    return max(middle - half, 0.0), min(middle + half, 1.0)


@dataclass(frozen=True)
class Judged:
    """One answer beside what was right."""

    annotator: int
    category: int  # the right one
    right: bool
    recent: bool


@dataclass(frozen=True)
class Reliability:
    """One annotator in one category (None: over all of them)."""

    annotator: int
    category: int | None
    before: Share
    recent: Share

    @property
    def all(self) -> Share:
        return Share(self.before.right + self.recent.right, self.before.total + self.recent.total)

    @property
    def falling(self) -> bool:
        enough = min(self.before.total, self.recent.total) >= LEAST
        return enough and self.recent.high < self.before.low


def reliabilities(answers: Iterable[Judged]) -> list[Reliability]:
    """Of each annotator, over all categories and in each, by annotator; all categories first."""
    counts: dict[tuple[int, int], list[int]] = {}
    for a in answers:
        for category in (-1, a.category):
            cell = counts.setdefault((a.annotator, category), [0, 0, 0, 0])
            cell[2 * a.recent] += a.right
            cell[2 * a.recent + 1] += 1
    return [
        Reliability(annotator, None if category < 0 else category, Share(c[0], c[1]), Share(c[2], c[3]))
        for (annotator, category), c in sorted(counts.items())
    ]
