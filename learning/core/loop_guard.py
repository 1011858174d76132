"""The hidden loop: how much the model feeds on its own output, what that would lead to, and what holds it back.

Follows the usual picture of a hidden feedback loop, p_{t+1} = (1 - alpha) p_true + alpha p_model: a share alpha of the
training weight is the model's own opinion. Some of it is plain to see (the model's answer taken as the label); some
hides in labels by people who saw the suggestion and took it over. That share is estimated by comparison with blind
labels: if people who saw the suggestion disagree with it at rate s where blind ones do at rate b, then s = (1 - c) b,
and c = 1 - s/b was copied. The ratio is Mantel and Haenszel's over strata (of confidence, say, since suggestions are
not shown at random), its interval Greenland and Robins' (1985).

It assumes that within a stratum, shown and blind items are alike. Without blind labels only the bounds are known, and
it says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Response = Callable[[Floats], Floats]


class Origin(IntEnum):
    """Where a training label came from."""

    OWN = 0  # the model's own answer, kept as the label
    SEEN = 1  # a person who saw the model's suggestion first
    BLIND = 2  # a person who did not


@dataclass(frozen=True)
class Labels:
    """Columns of equal length n. ``agrees``: the label equals the model's suggestion (computed for blind ones too).

    Blind audit labels that do not train take part with weight 0. ``stratum`` groups comparable items; 0 for all will
    do.
    """

    origin: Ints
    weight: Floats
    agrees: NDArray[np.bool_]
    stratum: Ints

    def __post_init__(self) -> None:
        if len({len(c) for c in (self.origin, self.weight, self.agrees, self.stratum)}) != 1:
            raise ValueError("the columns differ in length")
        if (self.weight < 0).any() or not self.weight.sum() > 0:
            raise ValueError("weights must not be negative, and some must be positive")


@dataclass(frozen=True)
class Alpha:
    """The share of training weight that is the model's own opinion, with its interval.

    ``own`` is certain; ``seen`` is the weight share of labels given after a suggestion; ``ceiling`` counts every one of
    them that agreed as copied. ``copy_rate`` is nan without blind labels, and the interval is then [own, ceiling].
    """

    estimate: float
    lower: float
    upper: float
    own: float
    seen: float
    ceiling: float
    copy_rate: float


def measure_alpha(labels: Labels, *, level: float = 0.95) -> Alpha:
    """Alpha with an interval that covers the share truly copied, as far as blind labels allow to tell."""
    total = labels.weight.sum()
    is_seen = labels.origin == Origin.SEEN
    own = float(labels.weight[labels.origin == Origin.OWN].sum() / total)
    seen = float(labels.weight[is_seen].sum() / total)
    ceiling = own + float(labels.weight[is_seen & labels.agrees].sum() / total)
    rate, low, high = copy_rate(labels, level=level)
    if math.isnan(rate):
        return Alpha((own + ceiling) / 2, own, ceiling, own, seen, ceiling, rate)
    # Which of the seen labels were copied is chance too: its spread joins that of the rate (square and add).
    z = NormalDist().inv_cdf((1 + level) / 2)
    chance = z * math.sqrt(rate * (1 - rate) * float((labels.weight[is_seen] ** 2).sum())) / float(total)
    estimate = min(own + rate * seen, ceiling)
    lower = own + rate * seen - math.hypot((rate - low) * seen, chance)
    upper = own + rate * seen + math.hypot((high - rate) * seen, chance)
    return Alpha(estimate, max(min(lower, estimate), own), min(upper, ceiling), own, seen, ceiling, rate)


def copy_rate(labels: Labels, *, level: float = 0.95) -> tuple[float, float, float]:
    """Share of shown suggestions taken over unread, with its bounds; (nan, 0, 1) where blind or shown labels are
    lacking.
    """
    rows = [_disagreements(labels, s) for s in np.unique(labels.stratum)]
    table = np.array([r for r in rows if r[1] and r[3]], dtype=float).reshape(-1, 4)
    if not len(table):
        return math.nan, 0.0, 1.0
    if (
        table[:, 0].sum() == 0 or table[:, 2].sum() == 0
    ):  # Walter's half, on the pooled table, where a log would be infinite
        table = table.sum(0, keepdims=True) + np.array([0.5, 0.5, 0.5, 0.5])
    ratio, spread = _mantel_haenszel(*table.T)
    z = NormalDist().inv_cdf((1 + level) / 2)
    low, high = (1 - ratio * math.exp(sign * z * spread) for sign in (1, -1))
    return tuple(float(np.clip(c, 0, 1)) for c in (1 - ratio, low, high))  # type: ignore[return-value]


def _disagreements(labels: Labels, stratum: int) -> tuple[int, int, int, int]:
    """Disagreeing and all labels, shown and blind."""
    here = labels.stratum == stratum
    counts = []
    for origin in (Origin.SEEN, Origin.BLIND):
        group = here & (labels.origin == origin)
        counts += [int((group & ~labels.agrees).sum()), int(group.sum())]
    return counts[0], counts[1], counts[2], counts[3]


def _mantel_haenszel(d_s: Floats, n_s: Floats, d_b: Floats, n_b: Floats) -> tuple[float, float]:
    """Pooled risk ratio shown / blind and the standard error of its logarithm (Greenland and Robins 1985, eq. 13)."""
    n = n_s + n_b
    shown, blind = (d_s * n_b / n).sum(), (d_b * n_s / n).sum()
    variance = ((n_s * n_b * (d_s + d_b) - d_s * d_b * n) / n**2).sum() / (shown * blind)
    return float(shown / blind), math.sqrt(max(float(variance), 0.0))


def simulate_loop(
    truth: Floats, alpha: float, response: Response, rounds: int, *, start: Floats | None = None
) -> Floats:
    """Class shares (rounds + 1, C) of p_{t+1} = (1 - alpha) p_true + alpha response(p_t)."""
    shares = [np.asarray(truth if start is None else start, dtype=float)]
    for _ in range(rounds):
        shares.append((1 - alpha) * truth + alpha * response(shares[-1]))
    return np.array(shares)


def sharpening(power: float) -> Response:
    """A model that answers the likelier class too often: shares proportional to p^power (1 = faithful)."""

    def respond(p: Floats) -> Floats:
        q = np.maximum(p, 1e-12) ** power
        return np.asarray(q / q.sum())

    return respond


def confusing(confusion: Floats) -> Response:
    """A model with fixed errors: ``confusion[i, j]`` (C, C) is the share of class i answered as j (rows sum to 1)."""

    def respond(p: Floats) -> Floats:
        return np.asarray(p @ confusion)

    return respond


def largest_eigenvalue(alpha: float, response: Response, at: Floats) -> float:
    """Spectral radius of the loop's Jacobian on the simplex at ``at``: below 1 errors die out, above 1 they grow."""
    n, step = len(at), 1e-6
    tangent = np.eye(n) - 1.0 / n  # directions that keep the sum of the shares
    columns = [(response(at + step * d) - response(at - step * d)) / (2 * step) for d in tangent]
    jacobian = np.array(columns).T @ tangent
    return float(alpha * np.abs(np.linalg.eigvals(jacobian)).max())


def critical_alpha(response: Response, at: Floats) -> float:
    """The alpha beyond which the loop amplifies errors at ``at`` (1 where none does)."""
    gain = largest_eigenvalue(1.0, response, at)
    return 1.0 if gain <= 1 else 1.0 / gain


def guarded_weights(
    label: Ints, own: NDArray[np.bool_], weight: Floats, audit_shares: Floats, *, bound: float = 0.5, most: float = 5.0
) -> Floats:
    """Training weights (n,) under which the loop cannot drift: the model's own labels held to ``bound`` of the weight,
    and the classes to the shares that the blind audit found.

    The two are fitted in turn (raking, Deming and Stephan 1940). No weight grows more than ``most``-fold, so that one
    rare label cannot rule; a class without any label stays without.
    """
    w = np.asarray(weight, dtype=float).copy()
    for _ in range(20):
        w *= _towards(label, w, audit_shares)[label]
        w = np.minimum(w, most * weight)
        w[own] *= _cap(w[own].sum(), w[~own].sum(), bound)
    return w


def _towards(label: Ints, w: Floats, target: Floats) -> Floats:
    mass = np.bincount(label, weights=w, minlength=len(target))
    present = mass > 0
    wanted = np.where(present, target, 0.0)
    wanted = wanted / wanted.sum() * mass.sum() if wanted.sum() > 0 else mass
    return np.asarray(np.where(present, wanted / np.where(present, mass, 1.0), 1.0))


def _cap(own: float, others: float, bound: float) -> float:
    """Factor on the own weight that brings its share down to ``bound`` (1 where it is there; 0 where nothing else
    trains).
    """
    if own == 0 or own <= bound * (own + others):
        return 1.0
    return bound * others / ((1 - bound) * own)


def exposure_bias(training_shares: Floats, audit_shares: Floats) -> float:
    """Total variation between what the model trains on and what customers ask, in [0, 1]."""
    return float(np.abs(np.asarray(training_shares) - np.asarray(audit_shares)).sum() / 2)


@dataclass(frozen=True)
class Alarm:
    """``code`` for programs and translations, ``sentence`` for a person."""

    code: str
    sentence: str


def alarms(
    alpha: Alpha, *, bound: float = 0.5, eigenvalue: float = 0.0, exposure: float = 0.0, most_exposure: float = 0.1
) -> Sequence[Alarm]:
    """What about the loop needs a person, worst first; empty when it is healthy."""
    found = []
    if eigenvalue >= 1:
        found.append(
            Alarm("unstable", f"The loop amplifies its own errors: its largest eigenvalue is {eigenvalue:.2f}.")
        )
    if alpha.upper >= bound:
        sure = "is" if alpha.lower >= bound else "may be"
        found.append(
            Alarm(
                "alpha",
                f"The model {sure} learning mostly from itself: α is {alpha.estimate:.0%}, at most {alpha.upper:.0%}.",
            )
        )
    if exposure > most_exposure:
        found.append(Alarm("exposure", f"Training data and customers differ in {exposure:.0%} of the class shares."))
    if math.isnan(alpha.copy_rate) and alpha.seen > 0:
        found.append(Alarm("unmeasured", "Without blind labels nobody can tell how many suggestions were copied."))
    return found
