"""What a head may be made of, judged on held-out folds: category texts, ridge, logistic regression.

Rows are the labels, then one pseudo-example per category that has a prototype; pseudo-examples are in every fit and never
held out, so a category without labels is still told apart and its texts count for less as labels come in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learning.core import calibration as cal
from learning.core.heads import linear, ridge
from learning.core.heads.blend import fit_shares
from learning.core.heads.features import FeatureMap
from learning.core.heads.folds import stratified_folds, with_at_most
from learning.core.heads.prior import normalised, prior_scale

Matrix = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
LAMBDAS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
PSEUDO_WEIGHTS = (0.0, 1.0, 3.0)
MANY_FOLDS, FOLDS, FEW = 10, 5, 500  # with few labels, leaving a fifth out is felt
HELD_OUT = 2000  # held-out rows beyond this many change no choice, but cost fits
CHOOSING = 12_000  # rows on which hyper-parameters are chosen; the head itself is fitted on all


@dataclass(frozen=True)
class Labels:
    """Checked input: ``x`` [n, d], ``y`` [n], ``weights`` [n] > 0, ``prototypes`` [K, d] (zeros: nothing known)."""

    x: Matrix
    y: Ints
    weights: Matrix
    prototypes: Matrix
    groups: Ints
    scale: float

    @property
    def known(self) -> npt.NDArray[np.intp]:
        """Categories with a prototype."""
        return np.flatnonzero(np.abs(self.prototypes).sum(axis=1) > 0)

    @property
    def classes(self) -> int:
        return len(self.prototypes)

    def pseudo_weights(self, least: float) -> Matrix:
        """Weight of each known category's pseudo-example, [known].

        A category without labels gets as much as labeled categories have on average: otherwise every label of theirs
        would push it further out of reach, which held-out labels cannot show. Its own labels soon replace that:
        n of them leave 1/(1 + n) of it.
        """
        each = np.bincount(self.y, self.weights, minlength=self.classes)
        usual = each[each > 0].mean() if each.any() else 0.0
        return np.asarray(np.maximum(least, usual / (1.0 + each))[self.known], dtype=np.float64)


@dataclass(frozen=True)
class Rows:
    """Training rows for choosing: labels first, pseudo-examples after them (fold −1)."""

    x: Matrix
    phi: Matrix
    targets: Matrix
    weights: Matrix
    folds: Ints
    labeled: int

    def weighing(self, pseudo: float) -> Matrix:
        """Row weights with at least ``pseudo`` for each pseudo-example (see Labels.pseudo_weights)."""
        return np.concatenate([self.weights[: self.labeled], np.maximum(pseudo, self.weights[self.labeled :])])

    @property
    def at(self) -> npt.NDArray[np.intp]:
        """Held-out rows."""
        return np.flatnonzero(self.folds >= 0)

    @property
    def held_out(self) -> tuple[Ints, Matrix]:
        """Labels and weights of the held-out rows."""
        return self.targets[self.at].argmax(axis=1), self.weights[self.at]


@dataclass(frozen=True)
class Candidate:
    """One head with its hyper-parameters: held-out scores at its own temperature, and their log-loss."""

    scores: Matrix
    temperature: float
    choice: Mapping[str, float]
    loss: float


def checked(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    classes: int,
    weights: npt.ArrayLike | None = None,
    prototypes: npt.ArrayLike | None = None,
    groups: npt.ArrayLike | None = None,
) -> Labels:
    """Rows of weight 0 are left out. Raises ValueError, naming the row, for what cannot be trained on."""
    if classes < 1:
        raise ValueError("a head needs at least one category")
    labels = np.asarray(y)
    rows = (
        np.asarray(x, dtype=np.float64).reshape(len(labels), -1)
        if len(labels)
        else np.zeros((0, _width(x, prototypes)))
    )
    labels = labels if len(labels) else labels.astype(np.int64)
    w = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    _check_rows(rows, labels, w, classes)
    known = np.zeros((classes, rows.shape[1])) if prototypes is None else normalised(prototypes)
    if known.shape != (classes, rows.shape[1]) or not np.isfinite(known).all():
        raise ValueError(f"prototypes must be finite and [{classes}, {rows.shape[1]}], not {list(known.shape)}")
    together = np.arange(len(rows)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    kept = np.flatnonzero(w > 0)
    return Labels(rows[kept], labels[kept].astype(np.int64), w[kept], known, together[kept], prior_scale(known))


def rows_for_choosing(data: Labels, features: FeatureMap, rng: np.random.Generator) -> Rows:
    chosen = np.sort(rng.permutation(len(data.y))[:CHOOSING])
    k = MANY_FOLDS if len(chosen) <= FEW else FOLDS
    folds = with_at_most(stratified_folds(data.y[chosen], k, rng, groups=data.groups[chosen]), HELD_OUT)
    eye = np.eye(data.classes)
    x = np.concatenate([data.x[chosen], data.prototypes[data.known]])
    return Rows(
        x=x,
        phi=features(x),
        targets=np.concatenate([eye[data.y[chosen]], eye[data.known]]),
        weights=np.concatenate([data.weights[chosen], data.pseudo_weights(0.0)]),
        folds=np.concatenate([folds, np.full(len(data.known), -1, dtype=np.int64)]),
        labeled=len(chosen),
    )


def prior_candidate(rows: Rows, data: Labels) -> Candidate:
    """The category texts at the scale of their own geometry; labels change their share, not their scale."""
    scores = data.scale * rows.x[rows.at] @ data.prototypes.T
    return Candidate(scores, 1.0 / data.scale, {"scale": data.scale}, cal.log_loss(scores, *rows.held_out))


def ridge_candidates(rows: Rows, pseudo: float, lams: Sequence[float] = LAMBDAS) -> list[Candidate]:
    trials = ridge.held_out_scores(rows.phi, rows.targets, rows.weighing(pseudo), rows.folds, lams)
    return [_candidate(rows, scores, {"lambda": lam, "pseudo": pseudo}) for lam, scores in trials]


def linear_candidates(rows: Rows, pseudo: float) -> list[Candidate]:
    trials = linear.held_out_scores(rows.x, rows.targets, rows.weighing(pseudo), rows.folds)
    return [_candidate(rows, scores, {"C": C, "pseudo": pseudo}) for C, scores in trials]


def best_members(rows: Rows, data: Labels) -> dict[str, Candidate]:
    """Category texts (where any are known), ridge and regression with the hyper-parameters that blend best."""
    prior = prior_candidate(rows, data)
    if not len(rows.at):
        return {"prior": prior}
    known = [prior] if len(data.known) else []
    pseudo = _pseudo_weight(rows, known)
    first, second = best_pair(ridge_candidates(rows, pseudo), linear_candidates(rows, pseudo), known, rows)
    return {**({"prior": prior} if known else {}), "ridge": first, "linear": second}


def _pseudo_weight(rows: Rows, known: Sequence[Candidate]) -> float:
    """The least weight of a pseudo-example that suits the ridge (its held-out scores cost far less than the other's)."""
    if not known:
        return 0.0
    middle = LAMBDAS[len(LAMBDAS) // 2]
    losses = {w: blend_loss([*known, *ridge_candidates(rows, w, (middle,))], rows) for w in PSEUDO_WEIGHTS}
    return min(losses, key=lambda w: losses[w])


def best_pair(
    first: Sequence[Candidate], second: Sequence[Candidate], others: Sequence[Candidate], rows: Rows
) -> tuple[Candidate, Candidate]:
    """The two that blend best with ``others``: hyper-parameters that win alone are too cautious for a blend.

    One sweep over each, starting from those that are best alone.
    """
    b = min(second, key=lambda c: c.loss)
    a = min(first, key=lambda c: blend_loss([c, b, *others], rows))
    b = min(second, key=lambda c: blend_loss([a, c, *others], rows))
    return a, b


def blend_loss(members: Iterable[Candidate], rows: Rows) -> float:
    """Held-out log-loss of the blend with the shares that suit it best."""
    y, w = rows.held_out
    scores = [member.scores for member in members]
    shares = fit_shares(scores, y, w, start=starting_shares(len(scores)))
    return cal.log_loss(np.tensordot(shares, np.stack(scores), axes=1), y, w)


def starting_shares(members: int) -> list[float]:
    return [1.0 / members] * members


def _candidate(rows: Rows, scores: Matrix, choice: Mapping[str, float]) -> Candidate:
    y, w = rows.held_out
    temperature = cal.fit_temperature(scores[rows.at], y, w)
    scaled = scores[rows.at] / temperature
    return Candidate(scaled, temperature, choice, cal.log_loss(scaled, y, w))


def _width(x: npt.ArrayLike, prototypes: npt.ArrayLike | None) -> int:
    shape = np.asarray(x).shape
    return int(shape[1]) if len(shape) == 2 else 1 if prototypes is None else int(np.asarray(prototypes).shape[1])


def _check_rows(rows: Matrix, labels: npt.NDArray[np.generic], w: Matrix, classes: int) -> None:
    if len(rows) != len(labels) or w.shape != labels.shape:
        raise ValueError(f"{len(rows)} embeddings, {len(labels)} labels and {w.size} weights do not fit")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers, not {labels.dtype}")
    bad = np.flatnonzero((labels.astype(np.int64) < 0) | (labels.astype(np.int64) >= classes))
    if len(bad):
        raise ValueError(f"row {bad[0]} has a label outside the {classes} categories")
    bad = np.flatnonzero(~(np.isfinite(rows).all(axis=1) & np.isfinite(w) & (w >= 0)))
    if len(bad):
        raise ValueError(f"row {bad[0]} has an embedding or a weight that is not finite, or a negative weight")
