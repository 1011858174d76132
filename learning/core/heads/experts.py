"""The members of the few-label stack: each turns labels and an unlabeled pool into scores for texts of the pool.

prior       the category's own texts: scale · cos(text, prototype)
linear      logistic regression on the embedding
views       logistic regression on [embedding, mean of the 10 nearest pool neighbours]
propagation labels spread along the neighbour graph (Zhou et al. 2004)
means       class means on the sphere, refined by EM over the pool (a mixture of von Mises–Fisher, one concentration)

Category texts take part as one pseudo-example per category (linear, views), as one more labeled node (propagation) or as
one observation (means). Scores are log-probabilities up to a temperature, [rows, C] float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from learning.core.heads import softmax
from learning.core.heads.graph import Affinity, Pool, propagate
from learning.core.heads.neighbours import REST
from learning.core.heads.prior import prior_scale

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Choice = Mapping[str, float]
EM_ROUNDS = 6
TRIAL_STEPS = 25  # of a regression that only has to be compared with others


class Texts:
    """The categories' own texts [K, d] (zeros: unknown) seen from a pool; computed once per pool."""

    def __init__(self, pool: Pool, prototypes: npt.ArrayLike) -> None:
        rows = np.asarray(prototypes, dtype=np.float32)
        self.known = np.flatnonzero(np.abs(rows).sum(axis=1) > 0)
        self.rows = rows
        self.views = pool.seen(rows[self.known]) if len(self.known) else np.zeros((0, 2 * rows.shape[1]), np.float32)
        self.affinity = pool.affinity(rows[self.known])
        self.scale = prior_scale(rows.astype(np.float64), pool.x[:4096])


@dataclass(frozen=True)
class Known:
    """Labels ``y`` [n] with ``weights`` [n] at positions ``at`` [n] of the pool; ``texts`` None where they are unused."""

    pool: Pool
    at: Ints
    y: Ints
    weights: Floats
    classes: int
    texts: Texts | None
    plain: Affinity = field(repr=False)

    def only(self, rows: npt.NDArray[np.bool_]) -> Known:
        return replace(self, at=self.at[rows], y=self.y[rows], weights=self.weights[rows])

    @property
    def named(self) -> Ints:
        """Categories whose texts take part."""
        return np.empty(0, dtype=np.int64) if self.texts is None else self.texts.known

    @cached_property
    def targets(self) -> Floats:
        """One-hot rows of the labels, then of the category texts."""
        eye = np.eye(self.classes, dtype=np.float32)
        return np.concatenate([eye[self.y], eye[self.named]])

    @property
    def example_weights(self) -> Floats:
        return np.concatenate([self.weights, np.ones(len(self.named), dtype=np.float32)])

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """Categories [K] of which anything is known."""
        return np.asarray(self.targets.any(axis=0))


@dataclass(frozen=True)
class Fitted:
    """An expert with all labels: its ``scores`` [N, K] of the pool, and what any other text x is scored by.

    That is x·linear[:-1] + linear[-1] ([d + 1, K]), the unit mean of x's neighbours times ``around`` [d, K], and the log of
    the shares in which its neighbours hold ``votes`` [N, K]; None: nothing of the kind. See learning/core/heads/neighbours.py.
    """

    scores: Floats = field(repr=False)
    linear: Floats | None = field(default=None, repr=False)
    around: Floats | None = field(default=None, repr=False)
    votes: Floats | None = field(default=None, repr=False)


class Expert(Protocol):
    """``grid`` lists the choices that cross-validation is to judge."""

    @property
    def name(self) -> str: ...
    @property
    def grid(self) -> tuple[Choice, ...]: ...

    def trial(self, known: Known, at: Ints) -> list[Floats]:
        """Scores [len(at), K] of the pool's texts ``at`` for each choice of the grid."""

    def fitted(self, known: Known, choice: Choice) -> Fitted:
        """With all labels, for the whole pool and for any other text."""


@dataclass(frozen=True)
class Prior:
    name: str = "prior"
    grid: tuple[Choice, ...] = ({},)

    def trial(self, known: Known, at: Ints) -> list[Floats]:
        return [self.of(known, known.pool.x[at])]

    def fitted(self, known: Known, choice: Choice) -> Fitted:
        linear = np.zeros((known.pool.x.shape[1] + 1, known.classes), dtype=np.float32)
        if known.texts is not None:
            linear[:-1] = known.texts.rows.T * np.float32(known.texts.scale)
        return Fitted(self.of(known, known.pool.x), linear)

    def of(self, known: Known, x: Floats) -> Floats:
        if known.texts is None:
            return np.zeros((len(x), known.classes), dtype=np.float32)
        return np.asarray(x @ known.texts.rows.T * np.float32(known.texts.scale), dtype=np.float32)


@dataclass(frozen=True)
class Regression:
    """Logistic regression; ``name`` says on what. Each C starts from the result of the smaller one."""

    name: str = "linear"
    grid: tuple[Choice, ...] = ({"C": 1.0}, {"C": 10.0}, {"C": 100.0})

    def trial(self, known: Known, at: Ints) -> list[Floats]:
        rows, x = self._rows(known), self._all(known)[at]
        found, theta = [], None
        for choice in self.grid:
            theta = rows.fit(known.targets, choice["C"], theta, TRIAL_STEPS)
            found.append(softmax.scores(x, theta))
        return found

    def fitted(self, known: Known, choice: Choice) -> Fitted:
        theta = self._rows(known).fit(known.targets, choice["C"])
        found, d = softmax.scores(self._all(known), theta), known.pool.x.shape[1]
        if self.name == "linear":
            return Fitted(found, theta)
        return Fitted(found, np.concatenate([theta[:d], theta[-1:]]), around=theta[d:-1])

    def _all(self, known: Known) -> Floats:
        return known.pool.x if self.name == "linear" else known.pool.views

    def _rows(self, known: Known) -> softmax.Rows:
        x = self._all(known)[known.at]
        if known.texts is not None:
            texts = known.texts.rows[known.texts.known] if self.name == "linear" else known.texts.views
            x = np.concatenate([x, texts])
        return softmax.Rows(x, known.example_weights)


@dataclass(frozen=True)
class Propagation:
    name: str = "propagation"
    grid: tuple[Choice, ...] = ({"alpha": 0.7}, {"alpha": 0.9})

    def trial(self, known: Known, at: Ints) -> list[Floats]:
        return [self.fitted(known, choice).scores[at] for choice in self.grid]

    def fitted(self, known: Known, choice: Choice) -> Fitted:
        matrix, roots = known.plain if known.texts is None else known.texts.affinity
        n = len(known.pool)
        seeds = np.zeros((matrix.shape[0], known.classes), dtype=np.float32)
        np.add.at(seeds, (known.at, known.y), known.weights)
        seeds[n + np.arange(len(known.named)), known.named] = 1.0
        f = propagate(matrix, seeds, choice["alpha"])[:n]
        total = f.sum(axis=1, keepdims=True)
        share = np.divide(f, total, out=np.full_like(f, 1.0 / known.classes), where=total > 0)
        found = np.asarray(np.log((1.0 - REST) * share + REST / known.classes), dtype=np.float32)
        root = roots[:n, None]
        return Fitted(found, votes=np.divide(f, root, out=np.zeros_like(f), where=root > 0))


@dataclass(frozen=True)
class Means:
    name: str = "means"
    grid: tuple[Choice, ...] = ({"kappa": 50.0},)

    def trial(self, known: Known, at: Ints) -> list[Floats]:
        return [softmax.scores(known.pool.x[at], self._theta(known, choice["kappa"])) for choice in self.grid]

    def fitted(self, known: Known, choice: Choice) -> Fitted:
        theta = self._theta(known, choice["kappa"])
        return Fitted(softmax.scores(known.pool.x, theta), theta)

    def _theta(self, known: Known, kappa: float) -> Floats:
        """[κ·means; log of the shares] as [d + 1, K]."""
        x = known.pool.x
        given = np.zeros((known.classes, x.shape[1]), dtype=np.float32)
        np.add.at(given, known.y, x[known.at] * known.weights[:, None])
        fixed = np.zeros_like(given)
        if known.texts is not None:
            fixed = known.texts.rows
        means, log_share = _unit(given + fixed), np.where(known.seen, 0.0, -30.0).astype(np.float32)
        for _ in range(EM_ROUNDS):
            p = softmax.probabilities(np.float32(kappa) * (x @ means.T) + log_share)
            p[known.at] = known.targets[: len(known.at)]
            means = _unit(p.T @ x + fixed)
            log_share = np.where(known.seen, np.log((p.sum(axis=0) + 1.0) / len(x)), -30.0).astype(np.float32)
        return np.concatenate([np.float32(kappa) * means.T, log_share[None]]).astype(np.float32)


EXPERTS: tuple[Expert, ...] = (Prior(), Regression(), Regression("views"), Propagation(), Means())


def expert(name: str, experts: tuple[Expert, ...] = EXPERTS) -> Any:
    return next(e for e in experts if e.name == name)


def _unit(rows: Floats) -> Floats:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-12), dtype=np.float32)
