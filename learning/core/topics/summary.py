"""How a topic is doing: its size, growth, mood, and share of unhappy customers, each with what chance alone would
explain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from learning.core.audit import exact_interval
from learning.core.drift.geometry import Ints


@dataclass(frozen=True)
class Summary:
    """``growth`` is the ratio of this period's share of all texts to the last one's; ``z`` says how far that is beyond
    chance.

    ``sentiment`` is nan, and ``negative`` (share, lower, upper) is (nan, 0, 1), where nothing is known.
    """

    topic: int
    size: int
    noise_share: float
    growth: float
    z: float
    sentiment: float
    negative: tuple[float, float, float]


def summaries(
    topics: Ints, noise: NDArray[np.bool_], recent: NDArray[np.bool_], *, sentiment: ArrayLike, negative: ArrayLike
) -> list[Summary]:
    """One per topic id, largest first. All columns have one row per text: ``recent`` marks this period's texts;
    ``sentiment`` in [-1, 1] and ``negative`` feedback as 0 or 1, both nan where unknown.
    """
    mood, unhappy = np.asarray(sentiment, dtype=float), np.asarray(negative, dtype=float)
    now, before = int(recent.sum()), int((~recent).sum())
    found = []
    for topic in np.unique(topics):
        mine = topics == topic
        growth, z = _growth(int((mine & recent).sum()), now, int((mine & ~recent).sum()), before)
        found.append(
            Summary(
                int(topic),
                int(mine.sum()),
                float(noise[mine].mean()),
                growth,
                z,
                _mean(mood[mine]),
                _share(unhappy[mine]),
            )
        )
    return sorted(found, key=lambda s: (-s.size, s.topic))


def _growth(a: int, now: int, b: int, before: int) -> tuple[float, float]:
    """Ratio of shares a/now and b/before with half a text added to each, and the z of its logarithm (Katz et al. 1978)."""
    if not now or not before:
        return 1.0, 0.0
    ratio = ((a + 0.5) / (now + 0.5)) / ((b + 0.5) / (before + 0.5))
    spread = math.sqrt(max(1 / (a + 0.5) - 1 / (now + 0.5) + 1 / (b + 0.5) - 1 / (before + 0.5), 1e-12))
    return ratio, math.log(ratio) / spread


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _share(values: NDArray[np.float64]) -> tuple[float, float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return math.nan, 0.0, 1.0
    return (float(known.mean()), *exact_interval(float(known.sum()), len(known)))
