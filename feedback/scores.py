"""Scores of feedback, as DESIGN §4 defines them. Pure: plain numbers in, plain numbers out.

Implicit, from what a customer did: f = w₁·1[click] + w₂·(1 − e^(−λ·t)) + w₃·d, with dwell time t in seconds and scroll
depth d in [0, 1]. Explicit, from what a customer said: f = α·(r − r_min)/(r_max − r_min) + β·S + γ·NPS/100; parts that
were not given drop out and the weights of the others are rescaled to the same sum.

What an inquiry's events say is kept as `Evidence`: integer sums, maxima and latest answers. Merging evidence is
commutative and associative to the last bit, so scores never depend on the order in which events arrive.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

# What a customer does, as opposed to says.
ACTIONS = frozenset({"impression", "click", "dwell", "scroll"})


@dataclass(frozen=True)
class ImplicitWeights:
    click: float = 0.4
    dwell: float = 0.4
    scroll: float = 0.2
    rate: float = 0.05  # λ, per second
    curve: str = "exponential"  # or "tanh": tanh(t/60), which needs no λ


@dataclass(frozen=True)
class ExplicitWeights:
    rating: float = 0.5
    sentiment: float = 0.3
    nps: float = 0.2
    rating_min: float = 1
    rating_max: float = 5


def implicit_score(*, click: float, dwell: float, scroll: float, weights: ImplicitWeights = ImplicitWeights()) -> float:
    """Implicit score of one exposure; click 0 or 1 (a bool will do), dwell in seconds (≥ 0), scroll in [0, 1].

    A click, 45.3 s, 78 % of the page, with λ = 0.05: 0.4 + 0.4 · (1 − e^(−2.265)) + 0.2 · 0.78

    >>> round(implicit_score(click=True, dwell=45.3, scroll=0.78), 3)
    0.914
    >>> implicit_score(click=False, dwell=0, scroll=0)
    0.0
    """
    seen = dwell_share(max(dwell, 0.0), weights)
    return weights.click * click + weights.dwell * seen + weights.scroll * min(max(scroll, 0.0), 1.0)


def dwell_share(seconds: float, weights: ImplicitWeights) -> float:
    """How much of full attention a dwell time is, in [0, 1].

    >>> round(dwell_share(45.3, ImplicitWeights()), 4)
    0.8962
    >>> round(dwell_share(60, ImplicitWeights(curve="tanh")), 4)
    0.7616
    """
    return math.tanh(seconds / 60.0) if weights.curve == "tanh" else 1.0 - math.exp(-weights.rate * seconds)


def nps_points(answer: float) -> int:
    """One NPS answer (0–10) as points: +100 promoter, 0 passive, −100 detractor (Reichheld 2003).

    >>> [nps_points(answer) for answer in (10, 9, 8, 7, 6, 0)]
    [100, 100, 0, 0, -100, -100]
    """
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
    >>> round(explicit_score(rating=4, nps=6), 4)  # (0.5 · 0.75 − 0.2 · 1) / 0.7
    0.25
    """
    span = weights.rating_max - weights.rating_min
    parts = (
        (weights.rating, None if rating is None else (rating - weights.rating_min) / span),
        (weights.sentiment, sentiment),
        (weights.nps, None if nps is None else nps_points(nps) / 100),
    )
    given = [(w, v) for w, v in parts if v is not None]
    total = math.fsum(w for w, _ in parts)
    share = math.fsum(w for w, _ in given)
    return total * math.fsum(w * v for w, v in given) / share if share > 0 else None


class Said(NamedTuple):
    """An answer that may be changed later. Compared as a tuple: the later one wins, and of two of the same instant the
    greater, so that the winner does not depend on the order of arrival."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the events of one inquiry say. Dwell is kept in whole microseconds, so that sums are exact in any order.

    `actions` counts events of the kinds in ACTIONS; `click` and `scroll` are the greatest seen, times the event's weight.
    """

    events: int = 0
    actions: int = 0
    impressions: int = 0
    click: float = 0.0
    dwell_us: int = 0
    scroll: float = 0.0
    rating: Said | None = None
    nps: Said | None = None
    sentiment: Said | None = None
    thumbs: Said | None = None

    def __add__(self, other: Evidence) -> Evidence:
        """Evidence of both together: commutative and associative.

        >>> (Evidence(events=1, dwell_us=100_000) + Evidence(events=2, dwell_us=200_000)).dwell_us
        300000
        """
        return Evidence(
            self.events + other.events, self.actions + other.actions, self.impressions + other.impressions,
            max(self.click, other.click), self.dwell_us + other.dwell_us, max(self.scroll, other.scroll),
            _later(self.rating, other.rating), _later(self.nps, other.nps),
            _later(self.sentiment, other.sentiment), _later(self.thumbs, other.thumbs),
        )  # fmt: skip


def _later(a: Said | None, b: Said | None) -> Said | None:
    return b if a is None else a if b is None else max(a, b)


class Signal(NamedTuple):
    """One event as the scores see it. `weight` is 1 for an event that an app's server vouches for, and less for one from an
    anonymous page."""

    kind: str
    value: float | None
    occurred_at: datetime
    weight: float = 1.0


def evidence_of(signals: Iterable[Signal]) -> Evidence:
    """Evidence of events, each given once. Dwell adds up, scroll takes the deepest, a click is one click however often;
    of ratings, NPS answers, comment sentiments and thumbs the latest counts (a customer may change their mind).

    What an anonymous page says that somebody did counts by its weight; what it says that somebody said never counts for
    the inquiry: anybody may have said it.
    """
    events = actions = impressions = dwell_us = 0
    click = scroll = 0.0
    said: dict[str, Said] = {}
    for kind, value, at, weight in signals:
        events += 1
        if kind in ACTIONS:
            actions += 1
            impressions += kind == "impression"
            click = max(click, weight) if kind == "click" else click
            dwell_us += round(weight * (value or 0.0) * 1e6) if kind == "dwell" else 0
            scroll = max(scroll, weight * (value or 0.0)) if kind == "scroll" else scroll
        elif value is not None and weight >= 1.0:
            given = Said(at, float(value))
            said[kind] = max(given, said.get(kind, given))
    return Evidence(
        events, actions, impressions, click, dwell_us, scroll,
        said.get("rating"), said.get("nps"), said.get("comment"), said.get("thumbs"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scores:
    implicit: float | None
    explicit: float | None
    thumbs: int | None


def scores_of(evidence: Evidence, implicit: ImplicitWeights, explicit: ExplicitWeights) -> Scores:
    """Scores of one inquiry.

    >>> scores_of(Evidence(actions=2, click=1.0), ImplicitWeights(), ExplicitWeights())
    Scores(implicit=0.4, explicit=None, thumbs=None)
    """
    done = None
    if evidence.actions:
        done = implicit_score(
            click=evidence.click, dwell=evidence.dwell_us / 1e6, scroll=evidence.scroll, weights=implicit
        )
    said = None
    if evidence.rating or evidence.sentiment or evidence.nps:
        said = explicit_score(
            rating=_value(evidence.rating), sentiment=_value(evidence.sentiment), nps=_value(evidence.nps), weights=explicit
        )  # fmt: skip
    return Scores(done, said, None if evidence.thumbs is None else int(evidence.thumbs.value))


def _value(said: Said | None) -> float | None:
    return None if said is None else said.value
