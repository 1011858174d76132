"""The heads with which benchmarks judge embeddings: the same kind for every encoder, hyper-parameters by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from learning.core.heads.features import FeatureMap
from learning.core.heads.ridge import RidgeStatistics

Floats = NDArray[np.float64]
STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0)
LAMBDAS = (0.01, 0.03, 0.1, 0.3, 1.0)
FOLDS = 3


@dataclass(frozen=True)
class Probe:
    """A fitted head: class probabilities of rows, and those that it gave held-out training rows in cross-validation."""

    weights: Floats
    bias: Floats
    features: FeatureMap
    temperature: float
    held_out: Floats
    choice: float

    def probabilities(self, x: NDArray[np.float32]) -> Floats:
        """[n, K] for embeddings [n, dim]."""
        return softmax((self.features(x) @ self.weights + self.bias) / self.temperature)


def fit_logistic(x: NDArray[np.float32], y: NDArray[np.int64], *, seed: int) -> Probe:
    """Multinomial logistic regression; C by the log-loss of held-out rows."""
    rows = x.astype(np.float64)
    tried = {C: _held_out_logistic(rows, y, C, seed) for C in STRENGTHS}
    best = min(STRENGTHS, key=lambda C: log_loss(tried[C], y))
    model = LogisticRegression(C=best, max_iter=1000).fit(rows, y)
    weights, bias = _columns(model, int(y.max()) + 1)
    return Probe(weights, bias, FeatureMap(x.shape[1]), 1.0, tried[best], best)


def _columns(model: LogisticRegression, classes: int) -> tuple[Floats, Floats]:
    """(weights [d, classes], bias [classes]) of a fit that may have seen two classes alone; unseen ones have no probability."""
    coef, intercept = model.coef_, model.intercept_
    if len(coef) == 1:  # scikit-learn keeps the second of two classes, against 0
        coef, intercept = np.concatenate([0 * coef, coef]), np.concatenate([0 * intercept, intercept])
    weights, bias = np.zeros((coef.shape[1], classes)), np.full(classes, -np.inf)
    weights[:, model.classes_], bias[model.classes_] = coef.T, intercept
    return weights, bias


def _held_out_logistic(x: Floats, y: NDArray[np.int64], C: float, seed: int) -> Floats:
    out = np.zeros((len(y), int(y.max()) + 1))
    for inside, outside in _folds(y, seed):
        model = LogisticRegression(C=C, max_iter=300).fit(x[inside], y[inside])
        out[np.ix_(outside, model.classes_)] = model.predict_proba(x[outside])
    return out


def fit_ridge(x: NDArray[np.float32], y: NDArray[np.int64], *, seed: int, count: int = 2000) -> Probe:
    """Random-feature ridge; λ and the temperature by the log-loss of held-out rows."""
    features = FeatureMap(x.shape[1], count, seed)
    phi = features(x)
    classes = [str(k) for k in range(int(y.max()) + 1)]
    tried = {lam: np.zeros((len(y), len(classes))) for lam in LAMBDAS}
    for inside, outside in _folds(y, seed):
        statistics = RidgeStatistics(phi.shape[1], classes)
        statistics.add(phi[inside], y[inside])
        for lam in LAMBDAS:
            tried[lam][outside] = phi[outside] @ statistics.solve(lam)
    temperatures = {lam: fit_temperature(scores, y) for lam, scores in tried.items()}
    held_out = {lam: softmax(tried[lam] / temperatures[lam]) for lam in LAMBDAS}
    best = min(LAMBDAS, key=lambda lam: log_loss(held_out[lam], y))
    statistics = RidgeStatistics(phi.shape[1], classes)
    statistics.add(phi, y)
    return Probe(statistics.solve(best), np.zeros(len(classes)), features, temperatures[best], held_out[best], best)


def _folds(y: NDArray[np.int64], seed: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    return list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(y, y))


def softmax(scores: Floats) -> Floats:
    z = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(z / z.sum(axis=1, keepdims=True), dtype=np.float64)


def log_loss(p: Floats, y: NDArray[np.int64]) -> float:
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean())


def fit_temperature(scores: Floats, y: NDArray[np.int64]) -> float:
    """The divisor of ridge scores at which their softmax has the least log-loss."""
    found = minimize_scalar(lambda t: log_loss(softmax(scores / np.exp(t)), y), bounds=(-5, 2), method="bounded")
    return float(np.exp(found.x))
