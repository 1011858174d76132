"""What a policy would have earned on logged votes, before anybody is shown its replies.

reward [n] is what was seen (a thumb, a rating in [0, 1]), target [n] the new policy's probability of the reply that was
shown, propensity [n] the logged one. Estimates are means of per-vote terms, so that intervals (normal, from the terms'
spread) and paired differences between policies come from the same numbers. Evidence weights from screening enter as
vote weights. An interval of normal theory is too narrow where a few huge ratios carry the sum: look at ``effective``.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from learning.core.preference.evidence import Floats


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; ``effective`` is the number of votes that the importance ratios leave (Kish 1965)."""

    value: float
    low: float
    high: float
    effective: float


@dataclass(frozen=True)
class Terms:
    """Per-vote terms [n], whose weighted mean is the value, their vote weights and the importance ratios."""

    terms: Floats
    weights: Floats
    ratios: Floats

    def estimate(self, *, level: float = 0.95) -> Estimate:
        """Mean with its interval. Raises ValueError where no vote has weight."""
        if not self.weights.sum() > 0:
            raise ValueError("There is no vote to estimate from.")
        value, half = _mean(self.terms, self.weights, level)
        carried = self.weights * self.ratios
        effective = float(carried.sum() ** 2 / max(np.square(carried).sum(), 1e-300))
        return Estimate(value, value - half, value + half, effective)

    def minus(self, other: Terms, *, level: float = 0.95) -> Estimate:
        """Paired difference of two policies on the same votes: far narrower than two intervals."""
        ratios = np.maximum(self.ratios, other.ratios)
        return Terms(self.terms - other.terms, self.weights, ratios).estimate(level=level)


def ips(
    reward: Floats, target: Floats, propensity: Floats, *, weights: Floats | None = None, clip: float = np.inf
) -> Terms:
    """Inverse propensity scores (Horvitz & Thompson 1952): unbiased with ``clip`` = ∞, and with the variance of that."""
    ratios = np.minimum(target / propensity, clip)
    return Terms(reward * ratios, _weights(reward, weights), ratios)


def snips(
    reward: Floats, target: Floats, propensity: Floats, *, weights: Floats | None = None, clip: float = np.inf
) -> Terms:
    """Self-normalised (Swaminathan & Joachims 2015): Σρr/Σρ, in [min r, max r]; the interval by the delta method."""
    weights = _weights(reward, weights)
    ratios = np.minimum(target / propensity, clip)
    mean_ratio = np.average(ratios, weights=weights)
    if not mean_ratio > 0:
        raise ValueError("The new policy never gives a reply that was shown: nothing can be said about it.")
    value = np.average(ratios * reward, weights=weights) / mean_ratio
    return Terms(value + ratios * (reward - value) / mean_ratio, weights, ratios)


def doubly_robust(
    reward: Floats,
    target: Floats,
    propensity: Floats,
    *,
    predicted: Floats,
    model_value: Floats,
    weights: Floats | None = None,
    clip: float = np.inf,
) -> Terms:
    """Model value plus weighted residual (Dudík et al. 2011): right where the model *or* the propensities are.

    ``predicted`` [n] is the model's reward of the shown reply, ``model_value`` [n] its mean over the new policy's
    replies. The model should not have been fitted to the votes it is used on.
    """
    ratios = np.minimum(target / propensity, clip)
    return Terms(model_value + ratios * (reward - predicted), _weights(reward, weights), ratios)


def _mean(terms: Floats, weights: Floats, level: float) -> tuple[float, float]:
    value = float(np.average(terms, weights=weights))
    error = float(np.sqrt(np.square(weights * (terms - value)).sum()) / weights.sum())
    return value, NormalDist().inv_cdf(0.5 + level / 2) * error


def _weights(reward: Floats, weights: Floats | None) -> Floats:
    return np.ones(len(reward)) if weights is None else weights
