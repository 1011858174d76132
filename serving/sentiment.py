"""Sentiment S in [−1, 1] of a text, from its embedding: S = p(positive) − p(negative). Pure, numpy alone.

Before any feedback a head is fitted on the anchor sentences (serving/anchors) by ridge regression to the three tones, each
weighing the same. The closed form gives every left-out prediction at once (here contrasting pairs are left out together,
so that their common frame is no help), and by those the penalty and the temperature are chosen: nothing is set by hand,
nothing is fitted to a data set. A head learned from feedback has the same form and takes its place.

It knows the tone of whole texts. Irony, and praise and blame in one sentence, it does not handle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.anchors import NEGATIVE, POSITIVE, TONES, AnchorTexts
from serving.encoder import Encoder

Floats = NDArray[np.float64]
# Penalties relative to the mean eigenvalue of the centred Gram matrix; temperatures of scores that span about 1.
PENALTIES = np.geomspace(1e-2, 1e2, 25)
TEMPERATURES = np.geomspace(0.02, 3.0, 60)


@dataclass(frozen=True)
class ToneHead:
    """softmax(x · weights + bias) over (negative, neutral, positive); ``weights`` [d, 3], ``bias`` [3]."""

    weights: Floats
    bias: Floats

    def logits(self, x: NDArray[np.float32]) -> Floats:
        """[n, d] → [n, 3] before the softmax."""
        return np.asarray(x.astype(np.float64) @ self.weights + self.bias, dtype=np.float64)

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, d] unit embeddings → probabilities [n, 3] of ``TONES``."""
        return softmax(self.logits(x)).astype(np.float32)

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, d] unit embeddings → S [n] in [−1, 1]."""
        return sentiment(self.predict(x))

    def score_one(self, x: NDArray[np.float32]) -> float:
        """The same for one row [d], in plain numbers: faster than arrays of one row."""
        z: list[float] = (x @ self.weights + self.bias).tolist()
        top = max(z)
        e = [math.exp(v - top) for v in z]
        return (e[POSITIVE] - e[NEGATIVE]) / sum(e)


def sentiment(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities [n, 3] of ``TONES`` → S [n]: 0 where a text is neutral, and where praise and blame are as likely.

    >>> sentiment(np.array([[0.1, 0.2, 0.7]], np.float32)).round(3).tolist()
    [0.6000000238418579]
    """
    s: NDArray[np.float32] = np.clip(probabilities[:, POSITIVE] - probabilities[:, NEGATIVE], -1, 1)
    return s


def from_anchors(encoder: Encoder, anchors: AnchorTexts) -> ToneHead:
    """The head that these anchors give in the space of one encoder."""
    return fit_anchors(encoder.encode(anchors.texts), np.array(anchors.tones), np.array(anchors.groups))


def fit_anchors(x: NDArray[np.float32], tones: NDArray[np.int64], groups: NDArray[np.int64]) -> ToneHead:
    """Ridge regression to the tones of ``x`` [n, d]; rows of one group are left out together. ValueError where a tone is missing."""
    counts = np.bincount(tones, minlength=len(TONES))
    if not counts.all():
        raise ValueError(f"the anchors lack a tone: {dict(zip(TONES, counts.tolist(), strict=True))}")
    solver = _Ridge(x.astype(np.float64), np.eye(len(TONES))[tones], len(tones) / (len(TONES) * counts[tones]))
    tried = [(*_sharpest(solver.left_out(p, groups), tones, solver.importance), p) for p in PENALTIES]
    _, temperature, penalty = min(tried)
    weights, bias = solver.solve(penalty)
    return ToneHead(weights / temperature, bias / temperature)


class _Ridge:
    """Weighted ridge regression in its dual form [n, n]: one decomposition serves every penalty."""

    def __init__(self, x: Floats, targets: Floats, importance: Floats) -> None:
        """``importance`` [n] > 0 has mean 1."""
        self.importance = importance
        self._root = np.sqrt(importance)[:, None]
        self._centre = np.average(x, axis=0, weights=importance)
        self._mean = np.average(targets, axis=0, weights=importance)
        self._x, self._t = (x - self._centre) * self._root, (targets - self._mean) * self._root
        values, self._vectors = np.linalg.eigh(self._x @ self._x.T)
        self._values = np.maximum(values, 0.0)

    def _shrunk(self, penalty: float) -> Floats:
        return np.asarray(self._values + penalty * max(float(self._values.mean()), 1e-12), dtype=np.float64)

    def left_out(self, penalty: float, groups: NDArray[np.int64]) -> Floats:
        """Scores [n, k] of each row by a fit without its group (the block form of the leave-one-out identity)."""
        n = len(self._x)
        hat = (self._vectors * (self._values / self._shrunk(penalty))) @ self._vectors.T
        hat += (self._root @ self._root.T) / n  # the intercept
        residuals = self._t - hat @ self._t
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            inside = np.eye(len(rows)) - hat[np.ix_(rows, rows)]
            residuals[rows] = np.linalg.solve(inside, residuals[rows])
        return np.asarray((self._t - residuals) / self._root + self._mean, dtype=np.float64)

    def solve(self, penalty: float) -> tuple[Floats, Floats]:
        """(weights [d, k], bias [k])."""
        dual = (self._vectors / self._shrunk(penalty)) @ (self._vectors.T @ self._t)
        weights = self._x.T @ dual
        return weights, self._mean - self._centre @ weights


def _sharpest(scores: Floats, tones: NDArray[np.int64], importance: Floats) -> tuple[float, float]:
    """(least weighted log-loss, its temperature) of ``scores`` [n, 3], against targets smoothed as Platt (1999) does."""
    targets = np.eye(len(TONES))[tones]
    doubt = 1.0 / (np.bincount(tones, minlength=len(TONES))[tones] + 2.0)[:, None]
    targets = targets * (1 - doubt) + (1 - targets) * doubt / (len(TONES) - 1)
    losses = [
        float(np.average(-(targets * _log_softmax(scores / t)).sum(axis=1), weights=importance)) for t in TEMPERATURES
    ]
    best = int(np.argmin(losses))
    return losses[best], float(TEMPERATURES[best])


def _log_softmax(z: Floats) -> Floats:
    z = z - z.max(axis=1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)), dtype=np.float64)


def softmax(z: Floats) -> Floats:
    """Rows of probabilities; no overflow."""
    return np.asarray(np.exp(_log_softmax(z)), dtype=np.float64)
