"""What the members of topics say together: keywords, typical texts, mood, growth. Texts are read, and only words shared by
several of them are kept.

Imports scipy: for workers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learning.core.drift.geometry import Floats, Ints
from learning.core.topics import summary
from learning.core.topics.assignment import centres
from learning.core.topics.drawing import trend
from learning.core.topics.keywords import keywords, representatives
from learning.models import TopicMember
from serving.engine import to_bytes

PERIOD = timedelta(days=7)  # growth compares this long with the time before
SHOWN = 12  # typical texts kept per topic
UNHAPPY = -0.25  # a comment read as less is a negative one
_COLUMNS = (
    "pk", "said_at", "inquiry__text", "event__text", "event__sentiment", "inquiry__decision__sentiment",
    "inquiry__score__thumbs", "event__inquiry__score__thumbs",
)  # fmt: skip


@dataclass(frozen=True)
class Said:
    """Members in the order of their ids, with what they say and how their customers felt (nan where unknown)."""

    ids: NDArray[np.int64]
    texts: list[str]
    at: list[datetime]
    mood: NDArray[np.float64]
    negative: NDArray[np.float64]

    def among(self, ids: NDArray[np.int64]) -> Said:
        """Those of the members with these ids (ascending)."""
        rows = np.flatnonzero(np.isin(self.ids, ids))
        return Said(
            self.ids[rows], [self.texts[i] for i in rows], [self.at[i] for i in rows], self.mood[rows], self.negative[rows]
        )  # fmt: skip


def said(*, project_id: int, encoder_sha: str, upto: int) -> Said:
    """The members of one map with an id up to this one."""
    members = TopicMember.objects.filter(project_id=project_id, encoder_sha=encoder_sha, pk__lte=upto)
    rows = [_said(*row) for row in members.order_by("pk").values_list(*_COLUMNS).iterator(chunk_size=5000)]
    ids, texts, at, mood, negative = zip(*rows, strict=True) if rows else ((),) * 5
    return Said(np.array(ids, np.int64), list(texts), list(at), np.array(mood, float), np.array(negative, float))


def _said(pk: int, at: datetime, inquiry: str | None, comment: str | None, *felt: float | None) -> tuple[Any, ...]:
    read, judged, own, about = felt
    thumbs = own if own is not None else about
    mood = read if read is not None else judged
    unhappy = float(thumbs < 0) if thumbs else float(read < UNHAPPY) if read is not None else np.nan
    return pk, inquiry or comment or "", at, np.nan if mood is None else mood, unhappy


def summarised(
    words: Said, x: Floats, ids: Ints, noise: NDArray[np.bool_], points: Floats, *, now: datetime
) -> dict[int, dict[str, Any]]:
    """Columns of `Topic` by id in ``ids`` (n,); all arrays have one row per member of ``words``."""
    recent = np.array([at > now - PERIOD for at in words.at], bool)
    terms, typical = keywords(words.texts, ids), representatives(x, ids, most=SHOWN)
    wanted = np.unique(ids)
    middle = dict(zip(wanted.tolist(), map(to_bytes, centres(x, ids, wanted)), strict=True))
    found = {}
    for s in summary.summaries(ids, noise, recent, sentiment=words.mood, negative=words.negative):
        mine = np.flatnonzero(ids == s.topic)
        place = np.median(points[mine], axis=0)
        found[s.topic] = _figures(s) | {
            "keywords": [k.term[:120] for k in terms[s.topic]], "trend": trend([words.at[i] for i in mine], now),
            "representatives": words.ids[typical[s.topic]].tolist(), "centroid": middle[s.topic],
            "x": float(place[0]), "y": float(place[1]),
        }  # fmt: skip
    return found


def _figures(s: summary.Summary) -> dict[str, Any]:
    share, low, high = s.negative
    return {
        "size": s.size, "noise_share": s.noise_share, "growth": s.growth, "growth_z": s.z,
        "sentiment": None if np.isnan(s.sentiment) else s.sentiment, "negative": None if np.isnan(share) else share,
        "negative_low": low, "negative_high": high,
    }  # fmt: skip


def distances(x: Floats, ids: Ints, figures: Mapping[int, dict[str, Any]]) -> NDArray[np.float64]:
    """1 − cosine of each text (n, d) to the centroid of its topic."""
    wanted = np.array(sorted(figures), np.int64)
    middle = centres(x, ids, wanted)
    return np.asarray(1 - (x * middle[np.searchsorted(wanted, ids)]).sum(1), dtype=np.float64)
