"""When to stop: what the next labels can be expected to bring.

Accuracy over labels follows an inverse power law, accuracy = a − b·n^(−c) (Figueroa et al. 2012), with ceiling a ≤ 1 and
b, c > 0. For each exponent c of a grid the law is linear in (a, b): its weighted least-squares fit gives a Gaussian for
(a, b) and the evidence for c. Drawing c by evidence and (a, b) from its Gaussian, cut to what is possible, gives the
distribution of the gain itself, so the interval holds what the few noisy points leave open. No constant is fitted to any
data set; what it cannot know is a change of what is asked, such as a new category.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learning.core.calibration import Interval

Values = npt.NDArray[np.float64]
EXPONENTS = np.linspace(0.1, 2.0, 39)
DRAWS = 4000
ENOUGH = 3  # a law with three parameters needs as many points
WIDE = 4.0  # prior deviation of a and b: far wider than accuracies are, there only to keep the fit defined


@dataclass(frozen=True)
class Outlook:
    """``gain`` of accuracy by the next ``labels`` labels and the ``ceiling`` that more labels approach, with intervals."""

    labels: int
    gain: Interval
    ceiling: Interval

    def worth_it(self, least: float) -> bool:
        """False once even the upper end of the interval lies below ``least`` (a share of accuracy)."""
        return not self.gain.high < least

    def in_words(self) -> str:
        low, high = 100 * self.gain.low, 100 * self.gain.high
        return f"the next {self.labels} labels should bring {100 * self.gain.estimate:.1f} points ({low:.1f} to {high:.1f})"


def outlook(
    counts: npt.ArrayLike,
    right: npt.ArrayLike,
    total: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    labels: int = 100,
    confidence: float = 0.95,
) -> Outlook:
    """From points of the learning curve: ``right`` of ``total`` answers at ``counts`` labels (audit or held-out ones).

    With fewer than three points nothing is known: the gain lies between 0 and what is missing to 1. Raises ValueError
    for points without answers or of different lengths.
    """
    n, r, t = (np.asarray(v, dtype=np.float64) for v in (counts, right, total))
    if not (n.shape == r.shape == t.shape) or (t <= 0).any() or (n <= 0).any():
        raise ValueError("each point needs a number of labels and at least one answer")
    if len(n) < ENOUGH:
        missing = 1.0 - float(r[-1] / t[-1]) if len(n) else 1.0
        return Outlook(labels, Interval(missing / 2, 0.0, missing), Interval(1.0 - missing / 2, 1.0 - missing, 1.0))
    a, b, c = _draws(n, r, t, rng)
    now = n.max()
    gain = b * (now**-c - (now + labels) ** -c)
    return Outlook(labels, _interval(gain, confidence), _interval(a, confidence))


def _draws(n: Values, right: Values, total: Values, rng: np.random.Generator) -> tuple[Values, Values, Values]:
    """(a, b, c) from their distribution given the points, [DRAWS] each."""
    p = (right + 1.0) / (total + 2.0)
    noise = p * (1.0 - p) / total
    fits = [_linear(n, p, noise, c) for c in EXPONENTS]
    evidence = np.array([e for _, _, e in fits])
    share = np.exp(evidence - evidence.max())
    which = rng.choice(len(EXPONENTS), size=4 * DRAWS, p=share / share.sum())
    z = rng.standard_normal((4 * DRAWS, 2))
    ab = np.array([fits[k][0] for k in which]) + np.einsum("kij,kj->ki", np.array([fits[k][1] for k in which]), z)
    possible = (ab[:, 1] >= 0) & (ab[:, 0] <= 1.0) & (ab[:, 0] >= 0)
    if possible.sum() < 50:  # a falling curve: no gain is the nearest thing to it that the law allows
        return np.full(1, p[-1]), np.zeros(1), np.ones(1)
    keep = np.flatnonzero(possible)[:DRAWS]
    return ab[keep, 0], ab[keep, 1], EXPONENTS[which[keep]]


def _linear(n: Values, p: Values, noise: Values, c: float) -> tuple[Values, Values, float]:
    """Mean of (a, b), the Cholesky factor of their covariance, and the log evidence for ``c``."""
    unit = n.min() ** c  # b in units of the first point's gap, so that one prior suits every c
    design = np.stack([np.ones_like(n), -(n**-c) * unit], axis=1)
    precision = design.T @ (design / noise[:, None]) + np.eye(2) / WIDE**2
    covariance = np.linalg.inv(precision)
    mean = covariance @ (design.T @ (p / noise))
    residual = p - design @ mean
    log_evidence = (
        -0.5 * float((residual**2 / noise).sum() + (mean**2).sum() / WIDE**2) + 0.5 * np.linalg.slogdet(covariance)[1]
    )
    scale = np.array([1.0, unit])
    return mean * scale, scale[:, None] * np.linalg.cholesky(covariance), float(log_evidence)


def _interval(values: Values, confidence: float) -> Interval:
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return Interval(float(np.mean(values)), float(low), float(high))
