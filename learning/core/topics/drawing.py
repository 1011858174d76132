"""What the map of topics needs beyond coordinates: marks that tell neighbours apart, and counts per day. Plain numpy."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from learning.core.drift.geometry import Floats, Ints

DAYS = 28  # of a trend


def slots(places: Floats, taken: Floats, slots_taken: Ints, *, slots: int) -> Ints:
    """A mark (0 to ``slots`` - 1) for each of ``places`` (k, 2), given those ``taken`` (n, 2) with their marks (n,).

    Greedy: each gets the mark whose nearest bearer is farthest away; one that nobody bears comes first.
    """
    near = np.full((len(places), slots), np.inf, np.float64)
    chosen = np.empty(len(places), np.int64)
    for slot in range(slots):
        mine = taken[slots_taken == slot]
        if len(mine):
            near[:, slot] = _gaps(places, mine).min(1)
    for k, place in enumerate(places):
        chosen[k] = int(near[k].argmax())
        near[:, chosen[k]] = np.minimum(near[:, chosen[k]], _gaps(places, place[None])[:, 0])
    return chosen


def _gaps(a: Floats, b: Floats) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=2))


def trend(said_at: list[datetime], now: datetime, days: int = DAYS) -> list[int]:
    """Texts on each of the last ``days`` periods of 24 hours, the latest last; older ones and future ones are left out.

    >>> from datetime import timedelta; now = datetime(2026, 1, 9, 12)
    >>> trend([now, now - timedelta(hours=30), now - timedelta(days=9)], now, 3)
    [0, 1, 1]
    """
    ages = [(now - at).total_seconds() // 86_400 for at in said_at]
    counts = np.bincount([int(a) for a in ages if 0 <= a < days], minlength=days)
    return [int(c) for c in counts[::-1]]
