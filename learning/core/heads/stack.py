"""The few-label head: experts weighed by cross-validation, served whole or distilled.

The beliefs of the stack are a logarithmic opinion pool, softmax(Σ v_j · scores_j / T_j). Choices within an expert, its
temperature T and the shares v ≥ 0 minimise the log-loss on held-out labels, so an expert that hurts gets no share: the
graph where neighbours in meaning do not share labels, the category texts where they say nothing.

It is served as it is: every expert scores any text by the text's own embedding and by its nearest neighbours in the
pool (`Served`). Where a look-up costs too much, behind an encoder that is distilled to be fast, a head is fitted to the
stack's beliefs about the whole pool instead (distillation, Hinton et al. 2015, arXiv:1503.02531): one softmax regression
on the features of the served graph, which loses up to a point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from learning.core import calibration as cal
from learning.core.heads import softmax
from learning.core.heads.blend import fit_shares
from learning.core.heads.coverage import coverage_weights
from learning.core.heads.experts import EXPERTS, Choice, Expert, Fitted, Floats, Ints, Known, Texts
from learning.core.heads.features import FeatureMap
from learning.core.heads.folds import stratified_folds
from learning.core.heads.graph import Pool
from learning.core.heads.neighbours import NeighbourScores

FOLDS = ((1000, 5), (None, 3))  # up to so many labels, so many folds
GROWTH = 2.0  # choices are cross-validated anew when there are so many times as many labels
STUDENT_C = 30.0
LARGEST_LOOK_UP = 12_000_000  # numbers, 48 MB in float32: 15,600 texts at 384 dimensions, 5,800 at 1,024
UNPROVEN = "linear"  # the expert by which the worth of the category texts is judged


@dataclass(frozen=True)
class Choices:
    """What cross-validation decided, at ``labels`` labels: reused until they have grown by a factor of `GROWTH`."""

    labels: int
    use_texts: bool
    chosen: Mapping[str, Choice]
    temperatures: Mapping[str, float]
    shares: Mapping[str, float]
    held_out: Mapping[str, float]

    def still_good(self, labels: int) -> bool:
        return self.labels <= labels < max(self.labels, 1) * GROWTH


@dataclass(frozen=True)
class Served:
    """The stack for any text x [d]: softmax(x·linear[:-1] + linear[-1] + neighbours(x)), ``linear`` [d + 1, K].

    ``neighbours`` is None where the shares leave no expert that asks them.
    """

    linear: Floats = field(repr=False)
    neighbours: NeighbourScores | None

    def scores(self, x: npt.ArrayLike) -> Floats:
        """[n, K], at temperature 1."""
        rows = np.asarray(x, dtype=np.float32)
        own = softmax.scores(rows, self.linear)
        return own if self.neighbours is None else own + self.neighbours(rows)


@dataclass(frozen=True)
class Stack:
    """``beliefs`` [N, K]: calibrated probabilities for the whole pool; ``choices`` say how they came about; ``served`` says
    the same of texts outside of it."""

    beliefs: Floats = field(repr=False)
    choices: Choices
    served: Served


class StackedHead:
    """Stacks for one pool; refitted as labels arrive. ``prototypes`` [K, d] are the categories' texts (zeros: none)."""

    def __init__(
        self,
        pool: Pool,
        classes: int,
        *,
        prototypes: npt.ArrayLike | None = None,
        experts: Sequence[Expert] = EXPERTS,
        seed: int = 0,
    ) -> None:
        self.pool, self.classes, self.experts, self.seed = pool, classes, tuple(experts), seed
        texts = None if prototypes is None else Texts(pool, prototypes)
        self.texts = texts if texts is not None and len(texts.known) else None
        self._plain = pool.affinity()

    def fit(
        self,
        at: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        weights: npt.ArrayLike | None = None,
        previous: Choices | None = None,
    ) -> Stack:
        """From labels ``y`` [n] of the pool's texts ``at`` [n]; n may be 0. Raises ValueError for labels out of range."""
        known = self._known(at, y, weights)
        reusable = previous is not None and previous.still_good(len(known.y))
        choices = previous if previous is not None and reusable else self._choose(known)
        used = known if choices.use_texts else self._without_texts(known)
        members = [
            (share / choices.temperatures[e.name], e.fitted(used, choices.chosen[e.name]))
            for e in self.experts
            if (share := choices.shares.get(e.name, 0.0)) > 0
        ]
        beliefs = np.zeros((len(self.pool), self.classes), dtype=np.float32)
        for gain, fitted in members:
            beliefs += np.float32(gain) * fitted.scores
        return Stack(softmax.probabilities(beliefs), choices, self._served(members, used.at))

    def _known(self, at: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike | None) -> Known:
        positions, labels = np.asarray(at, dtype=np.int64), np.asarray(y, dtype=np.int64)
        w = np.ones(len(labels), dtype=np.float32) if weights is None else np.asarray(weights, dtype=np.float32)
        if len(labels) and (labels.min() < 0 or labels.max() >= self.classes):
            raise ValueError(f"labels must be 0 … {self.classes - 1}")
        return Known(self.pool, positions, labels, w, self.classes, self.texts, self._plain)

    def _without_texts(self, known: Known) -> Known:
        return Known(known.pool, known.at, known.y, known.weights, known.classes, None, self._plain)

    def _choose(self, known: Known) -> Choices:
        if len(known.y) < 2 or len(np.unique(known.y)) < 2:
            return self._unproven(known)
        k = next(k for most, k in FOLDS if most is None or len(known.y) <= most)
        folds = stratified_folds(known.y, k, np.random.default_rng(self.seed))
        used, done = self._with_or_without_texts(known, folds)
        members = self._taking_part(used)
        trials = {e.name: done if e.name == UNPROVEN else _held_out(e, used, folds) for e in members}
        return self._weighed(used, folds, trials)

    def _with_or_without_texts(self, known: Known, folds: Ints) -> tuple[Known, list[Floats]]:
        """Whichever the plain regression predicts held-out labels better with, and its held-out scores."""
        judge = next(e for e in self.experts if e.name == UNPROVEN)
        bare = self._without_texts(known)
        options = [(k, _held_out(judge, k, folds)) for k in ([bare] if known.texts is None else [known, bare])]
        w = coverage_weights(known, folds)
        return min(options, key=lambda option: min(_loss(s, known.y, w) for s in option[1]))

    def _weighed(self, known: Known, folds: Ints, trials: Mapping[str, list[Floats]]) -> Choices:
        """The best choice within each expert at its own temperature, then the shares."""
        rows = _learnable(known, folds)
        y, w = known.y[rows], coverage_weights(known, folds)[rows]
        chosen: dict[str, Choice] = {}
        temperatures: dict[str, float] = {}
        members = []
        for name, tables in trials.items():
            fits = [(cal.fit_temperature(t[rows], y, w), t[rows]) for t in tables]
            losses = [cal.log_loss(t / temperature, y, w) for temperature, t in fits]
            best = int(np.argmin(losses))
            chosen[name] = next(e for e in self.experts if e.name == name).grid[best]
            temperatures[name] = fits[best][0]
            members.append(np.asarray(fits[best][1] / temperatures[name], dtype=np.float64))
        shares = fit_shares(members, y, w, start=[1.0 / len(members)] * len(members))
        blended = np.tensordot(shares, np.stack(members), axes=1)
        held_out = {
            "log_loss": cal.log_loss(blended, y, np.ones(len(y))), "log_loss_in_pool": cal.log_loss(blended, y, w),
            "accuracy": float((blended.argmax(axis=1) == y).mean()),
        }  # fmt: skip
        held_out |= {f"{name}": cal.log_loss(m, y, w) for name, m in zip(trials, members, strict=True)}
        by_name = {name: float(v) for name, v in zip(trials, shares, strict=True)}
        return Choices(len(known.y), known.texts is not None, chosen, temperatures, by_name, held_out)

    def _taking_part(self, known: Known) -> list[Expert]:
        return [e for e in self.experts if e.name != "prior" or known.texts is not None]

    def _unproven(self, known: Known) -> Choices:
        """Too few labels to judge anything: every expert that knows something counts alike."""
        names = [e.name for e in self._taking_part(known) if known.seen.any()]
        chosen = {e.name: e.grid[-1] for e in self.experts}
        alike = {name: 1.0 / len(names) for name in names}
        return Choices(len(known.y), known.texts is not None, chosen, dict.fromkeys(names, 1.0), alike, {})

    def _served(self, members: Sequence[tuple[float, Fitted]], labeled: Ints) -> Served:
        """The experts' sum, each at its gain. Only propagation has votes, so theirs need no mixing."""
        shape = (self.pool.x.shape[1], self.classes)
        linear, around = np.zeros((shape[0] + 1, shape[1]), np.float32), np.zeros(shape, np.float32)
        votes, share, asked = np.zeros((len(self.pool), self.classes), np.float32), 0.0, False
        for gain, fitted in members:
            if fitted.linear is not None:
                linear += np.float32(gain) * fitted.linear
            if fitted.around is not None:
                around, asked = around + np.float32(gain) * fitted.around, True
            if fitted.votes is not None:
                votes, share, asked = fitted.votes, gain, True
        kept = looked_up(len(self.pool), 2 * shape[0], labeled)  # each text twice, by either measure
        x = self.pool.x[kept]
        found = NeighbourScores.of(x, x @ around, self.pool.whitening, votes[kept], share) if asked else None
        return Served(linear, found)


class Student:
    """The served form: softmax regression on φ, fitted to beliefs about the pool. Built once per pool and feature map."""

    def __init__(self, pool: Pool, features: FeatureMap) -> None:
        self.features = features
        self._rows = softmax.Rows(np.asarray(features(pool.x), dtype=np.float32))

    def fit(
        self, beliefs: Floats, *, start: Floats | None = None, C: float = STUDENT_C, steps: int = softmax.STEPS
    ) -> Floats:
        """[weights; bias] as [width + 1, K], at temperature 1. ``start`` is an earlier result."""
        return self._rows.fit(beliefs, C, start, steps)

    def probabilities(self, x: npt.ArrayLike, theta: Floats) -> Floats:
        """As served, [n, K]."""
        return softmax.probabilities(softmax.scores(np.asarray(self.features(x), dtype=np.float32), theta))


def looked_up(texts: int, dimension: int, labeled: Ints, largest: int = LARGEST_LOOK_UP) -> Ints:
    """Positions of the pool's ``texts`` that are looked up: all, or the labeled ones and as many others, evenly spread, as fit
    into ``largest`` numbers: what is compared with every text must stay within reach of the caches."""
    most = max(largest // dimension, 1)
    if texts <= most:
        return np.arange(texts)
    rest = np.setdiff1d(np.arange(texts), labeled)
    room = max(most - len(labeled), 0)
    spread = rest[np.linspace(0, len(rest) - 1, num=min(room, len(rest)), dtype=np.int64)]
    return np.sort(np.concatenate([np.unique(labeled), spread]))


def _held_out(expert: Expert, known: Known, folds: Ints) -> list[Floats]:
    """For each choice of the grid the scores [n, K] of each label by experts that did not see its fold."""
    tables = [np.zeros((len(known.y), known.classes), dtype=np.float32) for _ in expert.grid]
    for fold in np.unique(folds):
        inside = folds == fold
        for table, scores in zip(tables, expert.trial(known.only(~inside), known.at[inside]), strict=True):
            table[inside] = scores
    return tables


def _loss(scores: Floats, y: Ints, w: npt.NDArray[np.float64]) -> float:
    return cal.log_loss(scores / cal.fit_temperature(scores, y, w), y, w)


def _learnable(known: Known, folds: Ints) -> npt.NDArray[np.bool_]:
    """Labels of whose category something is known outside their fold: no expert can be blamed for the others."""
    outside = np.stack([np.bincount(known.y[folds != f], minlength=known.classes) for f in range(int(folds.max()) + 1)])
    seen = outside[folds, known.y] > 0
    seen |= np.isin(known.y, known.named)
    return seen if seen.any() else np.ones(len(known.y), dtype=bool)


def best_regularisation(
    x: Floats, y: Ints, classes: int, seed: int = 0, grid: Sequence[float] = (1.0, 10.0, 100.0, 1000.0)
) -> float:
    """C of least held-out log-loss (each at its own temperature) for logistic regression on ``x`` [n, d] alone."""
    if len(np.unique(y)) < 2:
        return grid[-1]
    folds = stratified_folds(y, 5, np.random.default_rng(seed))
    targets = np.eye(classes, dtype=np.float32)[y]
    tables = {C: np.zeros((len(y), classes), dtype=np.float32) for C in grid}
    for fold in np.unique(folds):
        rows, theta = softmax.Rows(x[folds != fold]), None
        for C, table in tables.items():
            theta = rows.fit(targets[folds != fold], C, theta)
            table[folds == fold] = softmax.scores(x[folds == fold], theta)
    weights = np.ones(len(y))
    return min(grid, key=lambda C: _loss(tables[C], y, weights))
