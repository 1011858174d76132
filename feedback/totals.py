"""Sums over inquiries, and the figures that are made of them. Pure.

Every sum is a whole number (scores in units of 1e-9), so that adding and taking away is exact: totals are the same
whatever the order, and however often a part was recomputed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from feedback.scores import Evidence, Scores, nps_points

UNIT = 1_000_000_000
Z95 = 1.959963984540054


class Totals(NamedTuple):
    """What inquiries add up to. An exposure is an inquiry whose answer was seen: an act implies that it was."""

    inquiries: int = 0
    events: int = 0
    impressions: int = 0
    exposures: int = 0
    clicked: int = 0
    implicit_count: int = 0
    implicit_sum: int = 0
    explicit_count: int = 0
    explicit_sum: int = 0
    ups: int = 0
    downs: int = 0
    promoters: int = 0
    passives: int = 0
    detractors: int = 0

    def plus(self, other: Totals) -> Totals:
        return Totals(*[a + b for a, b in zip(self, other, strict=True)])

    def minus(self, other: Totals) -> Totals:
        """
        >>> Totals(inquiries=2, ups=1).minus(Totals(inquiries=2, ups=1)) == Totals()
        True
        """
        return Totals(*[a - b for a, b in zip(self, other, strict=True)])


def totals_of(evidence: Evidence, scores: Scores) -> Totals:
    """What one inquiry adds."""
    points = nps_points(evidence.nps.value) if evidence.nps else None
    return Totals(
        inquiries=1 if evidence.events else 0, events=evidence.events, impressions=evidence.impressions,
        exposures=1 if evidence.actions else 0, clicked=1 if evidence.click else 0,
        implicit_count=int(scores.implicit is not None), implicit_sum=round((scores.implicit or 0.0) * UNIT),
        explicit_count=int(scores.explicit is not None), explicit_sum=round((scores.explicit or 0.0) * UNIT),
        ups=int(scores.thumbs == 1), downs=int(scores.thumbs == -1),
        promoters=int(points == 100), passives=int(points == 0), detractors=int(points == -100),
    )  # fmt: skip


@dataclass(frozen=True)
class Interval:
    """95 %, in the unit of the figure."""

    low: float
    high: float


def mean(total: int, count: int) -> float | None:
    """Mean score of a sum in units.

    >>> mean(1_828_000_000, 2)
    0.914
    """
    return total / count / UNIT if count else None


def wilson(hits: int, n: int, z: float = Z95) -> Interval:
    """Wilson score interval of a share (Wilson 1927); [0, 1] where nothing was seen.

    >>> interval = wilson(8, 10)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.49, 0.943)
    """
    if n == 0:
        return Interval(0.0, 1.0)
    p, z2 = hits / n, z * z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Interval(max(middle - half, 0.0), min(middle + half, 1.0))


def nps(promoters: int, passives: int, detractors: int) -> float | None:
    """(promoters − detractors) / answers × 100, in [−100, 100].

    >>> nps(7, 1, 2)
    50.0
    """
    answers = promoters + passives + detractors
    return 100.0 * (promoters - detractors) / answers if answers else None


def nps_interval(promoters: int, passives: int, detractors: int, z: float = Z95) -> Interval:
    """Adjusted Wald interval of the NPS: three answers are added, ¾ promoters and ¾ detractors, before the usual normal
    interval is taken (Rocks 2016, arXiv:1601.07235). Unlike the plain one it keeps its coverage in small and one-sided samples.

    >>> interval = nps_interval(7, 1, 2)
    >>> round(interval.low, 1), round(interval.high, 1)
    (-5.7, 82.6)
    """
    n = promoters + passives + detractors + 3.0
    p, d = (promoters + 0.75) / n, (detractors + 0.75) / n
    half = z * math.sqrt((p + d - (p - d) ** 2) / n)
    return Interval(100 * max(p - d - half, -1.0), 100 * min(p - d + half, 1.0))
