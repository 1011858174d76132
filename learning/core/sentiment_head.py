"""The sentiment head that rating + comment pairs teach, with the anchors as its prior.

Multinomial logistic regression around the anchors' head: logits = z(x) + [x, ẑ(x), 1]·θ, where z are the three logits that
the anchors give, ẑ the same at unit root mean square, and θ minimises C·Σ wᵢ·H(tᵢ, softmax) + ½‖θ‖². So θ = 0 is the anchors
themselves: C, which cross-validated log-loss chooses from nearly nothing upwards, says how far the pairs may lead away
from them. A handful of pairs shifts the anchors a little, thousands overrule them. All of it is linear in x and is
folded into one head, weights [d, 3] and bias [3].

A tone without a single pair (no neutral rating, say) ends as improbable as the pairs say it is. Not handled: comments
whose rating speaks of something else than their words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from learning.core import calibration as cal
from learning.core.heads.folds import stratified_folds
from serving.anchors import NEGATIVE, NEUTRAL, POSITIVE, TONES
from serving.sentiment import ToneHead

Matrix = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# How far the pairs may lead away from the anchors, from hardly at all to freely.
GRID = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
FOLDS = 5
# Ratings within this share of either end of the scale are praise or blame: 1, 2 and 4, 5 of five stars.
END = 0.25


@dataclass(frozen=True)
class LearnedTone:
    """softmax((x · weights + bias)/temperature), and how it came about; ``held_out`` [n, 3] are cross-validated scores."""

    head: ToneHead
    temperature: float
    C: float
    metrics: dict[str, Any]

    def probabilities(self, x: npt.NDArray[np.float32]) -> Matrix:
        return cal.softmax(self.head.logits(x) / self.temperature)


def tone_of(rating: float, *, low: float, high: float) -> int:
    """The tone that a rating states on a scale from ``low`` to ``high``.

    >>> [TONES[tone_of(r, low=1, high=5)] for r in (1, 2, 3, 4, 5)]
    ['negative', 'negative', 'neutral', 'positive', 'positive']
    """
    place = (rating - low) / (high - low)
    return NEGATIVE if place <= END else POSITIVE if place >= 1 - END else NEUTRAL


def learn(
    x: npt.NDArray[np.float32],
    tones: Ints,
    prior: ToneHead,
    *,
    weights: Matrix | None = None,
    groups: Ints | None = None,
    seed: int = 0,
) -> LearnedTone:
    """Fit on ``x`` [n, d] with ``tones`` [n]; ``groups`` [n] of near-duplicates share a fold. ValueError for no rows."""
    if not len(x):
        raise ValueError("no comments to learn from")
    w = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    z = prior.logits(x)
    scale = max(float(np.sqrt((z * z).sum(axis=1).mean())), 1e-9)
    problem = _Problem(np.concatenate([x, z / scale, np.ones((len(x), 1))], axis=1), z, np.eye(len(TONES))[tones], w)
    folds = stratified_folds(tones, FOLDS, np.random.default_rng(seed), groups=groups)
    tried = problem.held_out(folds, tones) if folds.max() else {GRID[0]: z}
    losses = {C: cal.log_loss(scores, tones, w) for C, scores in tried.items()}
    C = min(losses, key=lambda c: losses[c])
    temperature, p = cal.crossfit(tried[C], tones, folds) if folds.max() else (1.0, cal.softmax(z))
    metrics = {
        "pairs": len(x),
        "pairs_by_tone": dict(zip(TONES, np.bincount(tones, minlength=len(TONES)).tolist(), strict=True)),
        "held_out_log_loss": losses[C],
        "held_out_accuracy": float((p.argmax(axis=1) == tones).mean()),
        "held_out_ece": cal.expected_calibration_error(p, tones),
        "anchors_log_loss": cal.log_loss(z, tones, w),
    }
    return LearnedTone(_folded(problem.fit(C), prior, scale), temperature, C, metrics)


class _Problem:
    """Features [n, m], the anchors' logits [n, 3] as offset, targets [n, 3] and weights [n] of one regression."""

    def __init__(self, features: Matrix, offset: Matrix, targets: Matrix, weights: Matrix) -> None:
        self.features, self.offset, self.targets, self.weights = features, offset, targets, weights

    def fit(self, C: float, start: Matrix | None = None, *, exact: bool = True) -> Matrix:
        """θ [m, 3] by L-BFGS; strictly convex, so the start changes only the time. Choosing C needs no ``exact`` solution."""
        shape = (self.features.shape[1], self.targets.shape[1])
        features = self.features if exact else self.features.astype(np.float32)
        penalty = 1.0 / (C * float(self.weights.sum()))
        share = (self.weights / self.weights.sum())[:, None]

        def objective(flat: Matrix) -> tuple[float, Matrix]:
            theta = flat.reshape(shape)
            log_p = cal.log_softmax(self.offset + features @ theta.astype(features.dtype))
            loss = -float((share * self.targets * log_p).sum()) + penalty / 2 * float(flat @ flat)
            wrong = ((np.exp(log_p) - self.targets) * share).astype(features.dtype)
            return loss, (features.T @ wrong + penalty * theta).ravel().astype(np.float64)

        first = np.zeros(shape) if start is None else start
        ends = {"maxiter": 500, "gtol": 1e-6} if exact else {"maxiter": 60, "gtol": 1e-4}
        found = minimize(objective, first.ravel(), jac=True, method="L-BFGS-B", options=ends)
        return np.asarray(found.x, dtype=np.float64).reshape(shape)

    def held_out(self, folds: Ints, tones: Ints) -> dict[float, Matrix]:
        """For each C, scores [n, 3] of each row by a fit that has not seen the row's fold; no further than the loss falls."""
        parts = [(folds == k, self._without(folds == k)) for k in range(int(folds.max()) + 1)]
        starts: list[Matrix | None] = [None] * len(parts)
        scores: dict[float, Matrix] = {}
        losses: list[float] = []
        for C in GRID:
            table = np.zeros_like(self.offset)
            for k, (out, seen) in enumerate(parts):
                starts[k] = theta = seen.fit(C, starts[k], exact=False)
                table[out] = self.offset[out] + self.features[out] @ theta
            scores[C] = table
            losses.append(cal.log_loss(table, tones, self.weights))
            if len(losses) > 2 and losses[-1] > losses[-2] > losses[-3]:
                break
        return scores

    def _without(self, out: npt.NDArray[np.bool_]) -> _Problem:
        return _Problem(self.features[~out], self.offset[~out], self.targets[~out], self.weights[~out])


def _folded(theta: Matrix, prior: ToneHead, scale: float) -> ToneHead:
    """z + [x, z/scale, 1]·θ with z = x·A + a, as one linear head of x."""
    d = len(prior.weights)
    through = np.eye(len(TONES)) + theta[d:-1] / scale
    return ToneHead(prior.weights @ through + theta[:d], prior.bias @ through + theta[-1])
