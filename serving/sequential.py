"""Always-valid tests for rollouts: look as often as you like, and err at most a share alpha of the time.

Follows the mixture sequential probability ratio test (mSPRT: Robbins 1970; Johari, Koomen, Pekelis and Walsh 2022,
"Always valid inference"), as an e-process: a likelihood ratio, mixed over the size of the harm, that no true null lets
grow beyond 1/alpha with more than probability alpha, at whatever look one stops (Ville's inequality).

- *Rates* (wrong answers, errors, escalations) use the exact two-sample e-variable of Turner, Ly and Grunwald (2024): no
  variance is estimated, so it holds for five events as for five thousand, and each look is a block of its own, so a
  rate that moves from day to day, or a treatment share that changes between rollout steps, biases nothing.
- *Means* (latency, NPS) use the normal mixture with a plug-in variance: valid once each arm has some tens of values.
- Several metrics are merged by a weighted average of their e-values (Vovk and Wang 2021), which needs no independence.

The alternative is one-sided: only harm counts. One customer must count once per look; repeated values of one person
within a look are not independent and have to be averaged by the caller. Pure numpy, no scipy: the web process imports
this module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reason = Literal["harm", "too little evidence", "evidence is in", "waited too long"]

# Sizes of harm that the mixture bets on, in units of the metric's margin, with a half-normal prior of scale one margin.
HARM_GRID: Floats = np.linspace(0.1, 4.0, 40)
_LOG_PRIOR: Floats = -(HARM_GRID**2) / 2 - np.log(np.exp(-(HARM_GRID**2) / 2).sum())


@dataclass(frozen=True)
class Metric:
    """One watched figure: ``margin`` is the smallest harm that matters, in its unit; ``weight`` its share of alpha."""

    name: str
    kind: Literal["rate", "mean"]
    worse: Literal["higher", "lower"]
    margin: float
    weight: float = 1.0
    baseline: float = 0.5  # rates only: what history says; it sharpens the first look and nothing else

    def __post_init__(self) -> None:
        if not self.margin > 0 or not self.weight > 0:
            raise ValueError(f"{self.name}: margin and weight must be positive")
        if self.kind == "rate" and not 0 <= self.baseline <= 1:
            raise ValueError(f"{self.name}: the baseline of a rate lies in [0, 1]")


@dataclass(frozen=True)
class Tally:
    """What one arm showed since the last look: customers, the sum of their values and (means only) of the squares."""

    n: Any
    total: Any
    squares: Any = 0.0


@dataclass(frozen=True)
class Evidence:
    """All that a test remembers of the looks so far. Arrays may carry leading axes (one entry per simulated run)."""

    n: Floats = field(default_factory=lambda: np.zeros(2))  # (..., 2): treatment, control
    total: Floats = field(default_factory=lambda: np.zeros(2))
    squares: Floats = field(default_factory=lambda: np.zeros(2))
    score: Floats = field(default_factory=lambda: np.zeros(()))  # sum of harm_d / variance_d over the looks d
    information: Floats = field(default_factory=lambda: np.zeros(()))  # sum of 1 / variance_d
    log_bets: Floats = field(default_factory=lambda: np.zeros(len(HARM_GRID)))  # log likelihood ratio per harm
    looks: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain lists and numbers, for a JSON column."""
        arrays = {k: np.asarray(v).tolist() for k, v in vars(self).items() if k != "looks"}
        return {**arrays, "looks": self.looks}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Evidence:
        """The inverse of ``as_json``."""
        arrays: dict[str, Any] = {k: np.asarray(v, dtype=float) for k, v in stored.items() if k != "looks"}
        return cls(**arrays, looks=int(stored["looks"]))


def blank(shape: tuple[int, ...] = ()) -> Evidence:
    """No look yet, for ``shape`` tests side by side."""
    pair, grid = np.zeros((*shape, 2)), np.zeros((*shape, len(HARM_GRID)))
    return Evidence(pair, pair, pair, np.zeros(shape), np.zeros(shape), grid)


def observe(metric: Metric, past: Evidence, treatment: Tally, control: Tally) -> Evidence:
    """Add one look; an arm without customers adds nothing. ValueError on a negative count or a rate above one."""
    n = _pair(treatment.n, control.n)
    total = _pair(treatment.total, control.total)
    squares = _pair(treatment.squares, control.squares)
    _check(metric, n, total)
    sums = past.n + n, past.total + total, past.squares + squares
    harm, variance = _harm(metric, n, total, *sums)
    precision = np.where(np.isfinite(variance) & (variance > 0), 1.0 / np.where(variance > 0, variance, 1.0), 0.0)
    bets = past.log_bets
    if metric.kind == "rate":
        bets = bets + _rate_bets(metric, past, n, total)
    return Evidence(*sums, past.score + harm * precision, past.information + precision, bets, past.looks + 1)


def e_value(metric: Metric, evidence: Evidence) -> Floats:
    """Evidence of harm: its expectation is at most 1, at any look, while the treatment is no worse."""
    if metric.kind == "rate":
        return np.asarray(np.exp(np.minimum(_logsumexp(evidence.log_bets + _LOG_PRIOR), 700.0)))
    return _normal_mixture(evidence.score, evidence.information, metric.margin)


def interval(metric: Metric, evidence: Evidence, alpha: float = 0.05) -> tuple[float, float, float]:
    """Harm with an interval that holds at every look at once (normal mixture, two-sided): (estimate, lower, upper).

    The unit is the metric's, positive = the treatment is worse. (nan, -inf, inf) without information.
    """
    info, score = float(evidence.information), float(evidence.score)
    if info <= 0:
        return math.nan, -math.inf, math.inf
    rho = info * metric.margin**2
    radius = math.sqrt((1 + 1 / rho) / info * math.log((1 + rho) / alpha**2))
    return score / info, score / info - radius, score / info + radius


@dataclass(frozen=True)
class Verdict:
    """``e_value`` is the weighted mean over the metrics; ``blame`` the metric that weighs most in it."""

    action: Literal["rollback", "advance", "hold"]
    reason: Reason
    e_value: float
    p_value: float  # always-valid, for this look: min(1, 1/e)
    blame: str
    parts: dict[str, float]


@dataclass(frozen=True)
class Step:
    """When a rollout step has seen enough, and when it has waited long enough to say that it has not."""

    minimum_per_arm: int = 200
    maximum_looks: int = 14


def judge(
    metrics: Sequence[Metric],
    evidence: Mapping[str, Evidence],
    *,
    step: Step,
    seen: int,
    looks: int,
    alpha: float = 0.05,
) -> Verdict:
    """Roll back, go on, or hold; ``seen`` and ``looks`` count the smaller arm's customers and the looks of this step.

    The evidence runs on over the steps of one rollout, so that alpha is spent once for the whole of it. Harm acts at
    any time; the minimum holds back only the advance. A step that waits beyond its maximum holds and says so: it never
    advances by itself.
    """
    parts = {m.name: float(e_value(m, evidence[m.name])) for m in metrics}
    shares = _shares(metrics)
    merged = sum(shares[name] * e for name, e in parts.items())
    blame = max(parts, key=lambda name: shares[name] * parts[name])
    action, reason = _action(merged >= 1 / alpha, seen >= step.minimum_per_arm, looks >= step.maximum_looks)
    return Verdict(action, reason, merged, min(1.0, 1 / merged) if merged > 0 else 1.0, blame, parts)


def _action(harmful: bool, enough: bool, late: bool) -> tuple[Literal["rollback", "advance", "hold"], Reason]:
    if harmful:
        return "rollback", "harm"
    if enough:
        return "advance", "evidence is in"
    return "hold", "waited too long" if late else "too little evidence"


def _shares(metrics: Sequence[Metric]) -> dict[str, float]:
    whole = sum(m.weight for m in metrics)
    return {m.name: m.weight / whole for m in metrics}


def _pair(treatment: Any, control: Any) -> Floats:
    return np.stack(np.broadcast_arrays(np.asarray(treatment, float), np.asarray(control, float)), axis=-1)


def _check(metric: Metric, n: Floats, total: Floats) -> None:
    if (n < 0).any():
        raise ValueError(f"{metric.name}: a negative number of customers")
    if metric.kind == "rate" and ((total < 0) | (total > n)).any():
        raise ValueError(f"{metric.name}: the events of a rate lie between 0 and the number of customers")


def _sign(metric: Metric) -> float:
    return 1.0 if metric.worse == "higher" else -1.0


def _harm(
    metric: Metric, n: Floats, total: Floats, n_all: Floats, total_all: Floats, squares_all: Floats
) -> tuple[Floats, Floats]:
    """Difference of this look's means and its variance, the spread taken from all looks (one look's own would bias the
    ratio).
    """
    safe, safe_all = np.maximum(n, 1), np.maximum(n_all, 1)
    mean = total / safe
    if metric.kind == "rate":
        p = (total_all + 0.5) / (n_all + 1)
        spread = p * (1 - p)
    else:
        spread = (
            np.maximum(squares_all / safe_all - (total_all / safe_all) ** 2, 0) * safe_all / np.maximum(safe_all - 1, 1)
        )
    variance = np.where((n > 0).all(-1), (spread / safe).sum(-1), np.inf)
    return _sign(metric) * (mean[..., 0] - mean[..., 1]), variance


def _rate_bets(metric: Metric, past: Evidence, n: Floats, total: Floats) -> Floats:
    """Log e-variable of one block for each harm in the grid (Turner et al., eq. 3: the null rate is the weighted mean).

    It is at most 1 in expectation whatever the common rate is, because log E is concave in that rate and flat at the
    weighted mean. The two rates it bets on come from earlier looks only; any predictable guess is valid, so the guess
    keeps rare events possible.
    """
    weight = 20.0  # pseudo-customers that the baseline is worth
    centre = (past.total.sum(-1) + weight * metric.baseline) / (past.n.sum(-1) + weight)
    if metric.worse == "lower":  # bet on the failures
        total, centre = n - total, 1 - centre
    harm = metric.margin * HARM_GRID
    b = np.clip(np.maximum(centre[..., None] - harm / 2, centre[..., None] / 2), 1e-6, 1 - 1e-6)
    a = np.minimum(b + harm, 1 - 1e-6)
    n_a, n_b = n[..., :1], n[..., 1:]
    null = np.where(n_a + n_b > 0, (n_a * a + n_b * b) / np.maximum(n_a + n_b, 1), a)
    hits_a, hits_b = total[..., :1], total[..., 1:]
    arm_a = hits_a * np.log(a / null) + (n_a - hits_a) * np.log((1 - a) / (1 - null))
    arm_b = hits_b * np.log(b / null) + (n_b - hits_b) * np.log((1 - b) / (1 - null))
    return np.asarray(arm_a + arm_b)


def _normal_mixture(score: Floats, information: Floats, scale: float) -> Floats:
    """Half-normal mixture of exp(h*S - h^2*I/2) over harms h > 0: closed form, 2 Phi(x) exp(x^2/2) / sqrt(1 +
    I*scale^2).
    """
    total = 1 + information * scale**2
    x = scale * score / np.sqrt(total)
    return np.asarray(2 * _normal_cdf(x) * np.exp(np.minimum(x**2 / 2, 700.0)) / np.sqrt(total))


def _normal_cdf(x: Floats) -> Floats:
    return np.asarray(np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)), otypes=[float])(x))


def _logsumexp(x: Floats) -> Floats:
    top = x.max(-1, keepdims=True)
    return np.asarray((top + np.log(np.exp(x - top).sum(-1, keepdims=True)))[..., 0])


@dataclass(frozen=True)
class Simulation:
    """``stop_days`` holds the look at which each run rolled back, 0 where it did not."""

    rollback_share: float
    median_day: float  # infinite where fewer than half of the runs stop
    stop_days: NDArray[np.int64]


def simulate(
    metrics: Sequence[Metric],
    *,
    per_arm: int,
    looks: int,
    runs: int,
    rng: np.random.Generator,
    harm: Mapping[str, float] | None = None,
    alpha: float = 0.05,
) -> Simulation:
    """Run the rollout's own test on simulated days: the false-alarm rate (no ``harm``) or the day on which a harm is
    stopped.

    Rates are drawn at their baseline, means as standard normals times ten margins; ``harm`` shifts the treatment of the
    named metrics by so much, in their own unit.
    """
    harm = harm or {}
    shares = _shares(metrics)
    evidence = {m.name: blank((runs,)) for m in metrics}
    stop = np.zeros(runs, dtype=np.int64)
    for look in range(1, looks + 1):
        merged = np.zeros(runs)
        for m in metrics:
            arms = [_draw(m, shift, per_arm, runs, rng) for shift in (_sign(m) * harm.get(m.name, 0.0), 0.0)]
            evidence[m.name] = observe(m, evidence[m.name], *arms)
            merged += shares[m.name] * e_value(m, evidence[m.name])
        stop[(merged >= 1 / alpha) & (stop == 0)] = look
    days = np.where(stop > 0, stop, np.inf)
    return Simulation(float((stop > 0).mean()), float(np.median(days)), stop)


def _draw(metric: Metric, shift: float, n: int, runs: int, rng: np.random.Generator) -> Tally:
    if metric.kind == "rate":
        return Tally(n, rng.binomial(n, min(max(metric.baseline + shift, 0.0), 1.0), runs))
    values = rng.normal(shift, 10 * metric.margin, (runs, n))
    return Tally(n, values.sum(1), (values**2).sum(1))
