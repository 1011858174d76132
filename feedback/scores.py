"""Scores of feedback, as DESIGN §4 defines them. Pure: plain numbers in, plain numbers out.

Implicit, from what a customer did: f = w₁·1[click] + w₂·(1 − e^(−λ·t)) + w₃·d, with dwell time t in seconds and scroll
depth d in [0, 1]. Explicit, from what a customer said: f = α·(r − r_min)/(r_max − r_min) + β·S + γ·NPS/100; parts that
were not given drop out and the weights of the others are rescaled to the same sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

# What a customer does, as opposed to says.
ACTIONS = frozenset({"impression", "click", "dwell", "scroll"})


@dataclass(frozen=True)
class ImplicitWeights:
    click: float = 0.4
    dwell: float = 0.4
    scroll: float = 0.2
    rate: float = 0.05  # λ, per second


@dataclass(frozen=True)
class ExplicitWeights:
    rating: float = 0.5
    sentiment: float = 0.3
    nps: float = 0.2
    rating_min: float = 1
    rating_max: float = 5


def implicit_score(*, click: float, dwell: float, scroll: float, weights: ImplicitWeights = ImplicitWeights()) -> float:
    """Implicit score of one exposure; click 0 or 1 (a bool will do), dwell in seconds (≥ 0), scroll in [0, 1].

    A click, 45.3 s, 78 % of the page:

    >>> round(implicit_score(click=True, dwell=45.3, scroll=0.78), 3)
    0.914
    """
    seen = 1.0 - math.exp(-weights.rate * max(dwell, 0.0))
    return weights.click * float(click) + weights.dwell * seen + weights.scroll * min(max(scroll, 0.0), 1.0)


def nps_points(answer: float) -> int:
    """One NPS answer (0–10) as points: +100 promoter, 0 passive, −100 detractor (Reichheld 2003)."""
    return 100 if answer >= 9 else 0 if answer >= 7 else -100


def explicit_score(
    *,
    rating: float | None = None,
    sentiment: float | None = None,
    nps: float | None = None,
    weights: ExplicitWeights = ExplicitWeights(),
) -> float | None:
    """Explicit score from the parts that were given, or None when none was.

    >>> explicit_score(rating=5, sentiment=1.0, nps=10)
    1.0
    >>> explicit_score(rating=3)
    0.5
    """
    span = weights.rating_max - weights.rating_min
    parts = [
        (weights.rating, None if rating is None else (rating - weights.rating_min) / span),
        (weights.sentiment, sentiment),
        (weights.nps, None if nps is None else nps_points(nps) / 100),
    ]
    given = [(w, v) for w, v in parts if v is not None]
    total = sum(w for w, _ in parts)
    share = sum(w for w, _ in given)
    return total * sum(w * v for w, v in given) / share if share > 0 else None


@dataclass(frozen=True)
class Signal:
    """One event as the scores see it. `key` breaks ties between events of the same instant, so order never matters.

    `weight` is 1 for an event that an app's server vouches for, and less for one from an anonymous page.
    """

    kind: str
    value: float | None
    occurred_at: datetime
    key: str
    weight: float = 1.0


@dataclass(frozen=True)
class Scores:
    implicit: float | None
    explicit: float | None
    thumbs: int | None


def scores_of(signals: Iterable[Signal], implicit: ImplicitWeights, explicit: ExplicitWeights) -> Scores:
    """Scores of one inquiry from all its events: any order and any repetition of delivery gives the same numbers.

    Dwell adds up, scroll takes the deepest, a click is one click; of thumbs, ratings, NPS answers and comment
    sentiments the latest counts (a customer may change their mind). What an anonymous page says that somebody did counts
    by its weight; what it says that somebody said never counts for the inquiry: anybody may have said it.
    """
    by_kind: dict[str, list[Signal]] = {}
    for signal in sorted(signals, key=lambda s: (s.occurred_at, s.key)):
        if signal.kind in ACTIONS or signal.weight >= 1.0:
            by_kind.setdefault(signal.kind, []).append(signal)
    done = implicit_score(
        click=max((s.weight for s in by_kind.get("click", [])), default=0.0),
        dwell=math.fsum(s.weight * (s.value or 0.0) for s in by_kind.get("dwell", [])),
        scroll=max((s.weight * (s.value or 0.0) for s in by_kind.get("scroll", [])), default=0.0),
        weights=implicit,
    )
    said = explicit_score(
        rating=_latest(by_kind.get("rating")), sentiment=_latest(by_kind.get("comment")), nps=_latest(by_kind.get("nps")),
        weights=explicit,
    )  # fmt: skip
    thumbs = _latest(by_kind.get("thumbs"))
    return Scores(done if ACTIONS & by_kind.keys() else None, said, None if thumbs is None else int(thumbs))


def _latest(signals: Sequence[Signal] | None) -> float | None:
    known = [s.value for s in signals or () if s.value is not None]
    return known[-1] if known else None
