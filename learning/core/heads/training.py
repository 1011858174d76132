"""From labels to a servable head: ridge, logistic regression and category texts, each cross-validated, and their blend.

Everything that is chosen (the ridge's λ, the regression's C, the weight of the category texts as pseudo-examples, the
shares of the blend, the temperature) is chosen on held-out folds by log-loss. All members are linear in one feature map, so
whatever wins is served by one graph. Works from no labels at all (the category texts alone), for one category, and
for categories without a label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from learning.core import calibration as cal
from learning.core.heads import linear, ridge
from learning.core.heads.blend import cross_fitted, fit_shares
from learning.core.heads.features import FeatureMap
from learning.core.heads.folds import stratified_folds, with_at_most
from learning.core.heads.prior import normalised, prior_scale

Matrix = npt.NDArray[np.float64]
Progress = Callable[[float, str], None]
RANDOM_FEATURES = 2048
LAMBDAS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
PSEUDO_WEIGHTS = (0.0, 0.3, 1.0, 3.0)
FOLDS = 5
HELD_OUT = 4000  # held-out rows beyond this many change no choice, but cost fits
CHOOSING = 12_000  # rows on which hyper-parameters are chosen; the head itself is fitted on all
CALIBRATION_ALONE = 200  # from so many calibration labels on, the temperature needs no held-out training scores
CHUNK = 4096


@dataclass(frozen=True)
class TrainedHead:
    """softmax((φ(x)·weights + bias)/temperature), and how it came about.

    ``parts`` holds [m + 1, K] (weights, last row bias) of each member at its own temperature and ``shares`` how much of
    each is in ``weights``: whoever keeps the ridge current under single labels replaces that part and adds up again.
    """

    kind: str
    categories: tuple[str, ...]
    features: FeatureMap
    weights: Matrix
    bias: Matrix
    temperature: float
    metrics: dict[str, Any]
    hyperparameters: dict[str, Any]
    parts: Mapping[str, Matrix] = field(repr=False)
    shares: Mapping[str, float]

    @property
    def projection_seed(self) -> int:
        return self.features.seed

    def scores(self, x: npt.ArrayLike) -> Matrix:
        """[n, K] before temperature and softmax."""
        return np.asarray(self.features(x) @ self.weights + self.bias, dtype=np.float64)

    def probabilities(self, x: npt.ArrayLike) -> Matrix:
        return cal.softmax(self.scores(x) / self.temperature)


@dataclass(frozen=True)
class _Rows:
    """Training rows: labels first, then one pseudo-example per category that has a prototype (fold −1)."""

    x: Matrix
    phi: Matrix
    targets: Matrix
    weights: Matrix
    folds: npt.NDArray[np.int64]
    labeled: int

    def weighing(self, pseudo: float) -> Matrix:
        """Row weights with this weight for each pseudo-example."""
        return np.concatenate([self.weights[: self.labeled], np.full(len(self.weights) - self.labeled, pseudo)])

    @property
    def held_out(self) -> npt.NDArray[np.intp]:
        return np.flatnonzero(self.folds >= 0)


@dataclass
class _Member:
    """One head: its scores at held-out rows (already at its temperature) and how to fit it on everything."""

    scores: Matrix
    temperature: float
    choice: dict[str, float]
    loss: float


def train_heads(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    categories: Sequence[str],
    prior_prototypes: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
    calibration: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    groups: npt.ArrayLike | None = None,
    random_features: int = RANDOM_FEATURES,
) -> TrainedHead:
    """Fit ridge, logistic regression and their blend with the category texts; return the best by held-out log-loss.

    ``x`` [n, d] unit embeddings, ``y`` [n] positions in ``categories``, ``weights`` [n] ≥ 0 (rows of weight 0 are left
    out), ``prior_prototypes`` [K, d] (rows of zeros: nothing is known of that category), ``groups`` [n] of near-duplicates
    that must share a fold, ``calibration`` labels that train nothing but the temperature. n may be 0.
    ``progress(share, what)`` is called as the work goes on. Raises ValueError for input that cannot be trained on.
    """
    report = progress or (lambda share, what: None)
    data = _checked(x, y, weights, len(categories), prior_prototypes)
    features = FeatureMap(data.prototypes.shape[1], random_features, seed)
    held_out = _choosing_rows(data, features, seed, groups)
    members = _members(held_out, data, report)
    kind, shares, losses = _best(members, held_out)
    report(0.7, f"fitting {kind}")
    parts = {name: _fit(name, members[name], data, features) for name in shares}
    theta = sum((shares[name] * part for name, part in parts.items()), np.zeros((features.width + 1, len(categories))))
    temperature, metrics = _calibrated(theta, shares, members, held_out, features, calibration)
    report(1.0, "trained")
    return TrainedHead(
        kind=kind,
        categories=tuple(categories),
        features=features,
        weights=theta[:-1],
        bias=theta[-1],
        temperature=temperature,
        metrics={**metrics, "held_out_log_loss": losses, "labels": len(data.y)},
        hyperparameters=_hyperparameters(members, shares, features, seed),
        parts=parts,
        shares=shares,
    )


@dataclass(frozen=True)
class _Data:
    x: Matrix
    y: npt.NDArray[np.int64]
    weights: Matrix
    prototypes: Matrix
    scale: float
    kept: npt.NDArray[np.intp]

    @property
    def known(self) -> npt.NDArray[np.intp]:
        """Categories with a prototype."""
        return np.flatnonzero(np.abs(self.prototypes).sum(axis=1) > 0)


def _checked(
    x: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike | None, count: int, prior: npt.ArrayLike | None
) -> _Data:
    rows, labels = np.atleast_2d(np.asarray(x, dtype=np.float64)), np.asarray(y)
    known = None if prior is None else normalised(prior)
    if count < 1:
        raise ValueError("a head needs at least one category")
    if not len(labels):
        rows = np.zeros((0, rows.shape[1] or (known.shape[1] if known is not None else 1)))
        labels = labels.astype(np.int64)
    w = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(rows) != len(labels) or w.shape != labels.shape:
        raise ValueError(f"{len(rows)} embeddings, {len(labels)} labels and {w.size} weights do not fit")
    if not np.issubdtype(labels.dtype, np.integer) or (len(labels) and not 0 <= labels.min() <= labels.max() < count):
        raise ValueError(f"labels must be integers from 0 to {count - 1}")
    bad = np.flatnonzero(~(np.isfinite(rows).all(axis=1) & np.isfinite(w) & (w >= 0)))
    if len(bad):
        raise ValueError(f"row {bad[0]} has an embedding or a weight that is not finite, or a negative weight")
    if known is None:
        known = np.zeros((count, rows.shape[1]))
    if known.shape != (count, rows.shape[1]) or not np.isfinite(known).all():
        raise ValueError(f"prototypes must be finite and [{count}, {rows.shape[1]}], not {list(known.shape)}")
    kept = np.flatnonzero(w > 0)
    return _Data(rows[kept], labels[kept].astype(np.int64), w[kept], known, prior_scale(known), kept)


def _choosing_rows(data: _Data, features: FeatureMap, seed: int, groups: npt.ArrayLike | None) -> _Rows:
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(data.y))[:CHOOSING])
    together = None if groups is None else np.asarray(groups)[data.kept][chosen]
    folds = with_at_most(stratified_folds(data.y[chosen], FOLDS, rng, groups=together), HELD_OUT)
    eye = np.eye(len(data.prototypes))
    x = np.concatenate([data.x[chosen], data.prototypes[data.known]])
    return _Rows(
        x=x,
        phi=features(x),
        targets=np.concatenate([eye[data.y[chosen]], eye[data.known]]),
        weights=np.concatenate([data.weights[chosen], np.ones(len(data.known))]),
        folds=np.concatenate([folds, np.full(len(data.known), -1, dtype=np.int64)]),
        labeled=len(chosen),
    )


def _members(rows: _Rows, data: _Data, report: Progress) -> dict[str, _Member]:
    report(0.05, "choosing the weight of the category texts")
    pseudo = _pseudo_weight(rows)
    report(0.15, "cross-validating ridge")
    weighed = rows.weighing(pseudo)
    found = {"prior": _prior(rows, data)}
    if not len(rows.held_out):
        return found
    trials = ridge.held_out_scores(rows.phi, rows.targets, weighed, rows.folds, LAMBDAS)
    found["ridge"] = _chosen(rows, (({"lambda": lam, "pseudo": pseudo}, scores) for lam, scores in trials))
    report(0.3, "cross-validating logistic regression")
    fits = linear.held_out_scores(rows.x, rows.targets, weighed, rows.folds)
    found["linear"] = _chosen(rows, (({"C": C, "pseudo": pseudo}, scores) for C, scores in fits))
    return found


def _pseudo_weight(rows: _Rows) -> float:
    """Judged by the ridge, whose held-out scores cost least; at one λ, since the two hardly interact."""
    if rows.labeled == len(rows.x) or not len(rows.held_out):
        return PSEUDO_WEIGHTS[-1] if rows.labeled < len(rows.x) else 0.0
    middle = LAMBDAS[len(LAMBDAS) // 2]
    losses = {}
    for weight in PSEUDO_WEIGHTS:
        trial = ridge.held_out_scores(rows.phi, rows.targets, rows.weighing(weight), rows.folds, (middle,))
        losses[weight] = _chosen(rows, (({}, scores) for _, scores in trial)).loss
    return min(losses, key=lambda weight: losses[weight])


def _chosen(rows: _Rows, trials: Any) -> _Member:
    """The trial with the least held-out log-loss at its own temperature."""
    best: _Member | None = None
    at = rows.held_out
    y, w = rows.targets[at].argmax(axis=1), rows.weights[at]
    for choice, scores in trials:
        temperature = cal.fit_temperature(scores[at], y, w)
        member = _Member(scores[at] / temperature, temperature, choice, 0.0)
        member.loss = cal.log_loss(member.scores, y, w)
        if best is None or member.loss < best.loss:
            best = member
    assert best is not None
    return best


def _prior(rows: _Rows, data: _Data) -> _Member:
    """The category texts at the scale of their own geometry: labels change its share in the blend, nothing else."""
    at = rows.held_out
    scores = data.scale * rows.x[at] @ data.prototypes.T
    loss = cal.log_loss(scores, rows.targets[at].argmax(axis=1), rows.weights[at]) if len(at) else float("nan")
    return _Member(scores, 1.0 / data.scale, {"scale": data.scale}, loss)


def _best(members: Mapping[str, _Member], rows: _Rows) -> tuple[str, dict[str, float], dict[str, float]]:
    """(kind, shares of its members, cross-fitted log-loss of every kind)."""
    if len(members) == 1:
        return "prior", {"prior": 1.0}, {}
    at = rows.held_out
    y, w, folds = rows.targets[at].argmax(axis=1), rows.weights[at], rows.folds[at]
    names = [name for name in members if name != "prior" or members[name].scores.any()]
    start = [1.0 / len(names)] * len(names)
    scores = [members[name].scores for name in names]
    losses = {name: members[name].loss for name in names}
    losses["blend"] = cal.log_loss(cross_fitted(scores, y, w, folds, start=start), y, w)
    kind = min(losses, key=lambda name: losses[name])
    if kind != "blend":
        return kind, {kind: 1.0}, losses
    return kind, dict(zip(names, map(float, fit_shares(scores, y, w, start=start)), strict=True)), losses


def _fit(name: str, member: _Member, data: _Data, features: FeatureMap) -> Matrix:
    """[m + 1, K] of one member on all rows, at its temperature."""
    count, width = len(data.prototypes), features.width
    theta = np.zeros((width + 1, count))
    if name == "prior":
        theta[-1 - features.dimension : -1] = data.prototypes.T / features.direct
    elif name == "ridge":
        theta[:-1] = ridge_statistics(data, features, member.choice["pseudo"]).solve(member.choice["lambda"])
    else:
        theta[-1 - features.dimension :] = _regression(data, member)
        theta[-1 - features.dimension : -1] /= features.direct
    return theta / member.temperature


def ridge_statistics(data: _Data, features: FeatureMap, pseudo: float) -> ridge.RidgeStatistics:
    """Statistics of all labels and of the category texts."""
    made = ridge.RidgeStatistics(features.width, [str(k) for k in range(len(data.prototypes))])
    for at in range(0, len(data.y), CHUNK):
        part = slice(at, at + CHUNK)
        made.add(features(data.x[part]), data.y[part], data.weights[part])
    if pseudo and len(data.known):
        made.add(features(data.prototypes[data.known]), data.known, pseudo)
    return made


def _regression(data: _Data, member: _Member) -> Matrix:
    eye = np.eye(len(data.prototypes))
    x = np.concatenate([data.x, data.prototypes[data.known]])
    targets = np.concatenate([eye[data.y], eye[data.known]])
    weights = np.concatenate([data.weights, np.full(len(data.known), member.choice["pseudo"])])
    start = linear.fit_linear(x, targets, weights, C=member.choice["C"], exact=False)
    return linear.fit_linear(x, targets, weights, C=member.choice["C"], start=start)


def _calibrated(
    theta: Matrix,
    shares: Mapping[str, float],
    members: Mapping[str, _Member],
    rows: _Rows,
    features: FeatureMap,
    given: tuple[npt.ArrayLike, npt.ArrayLike] | None,
) -> tuple[float, dict[str, Any]]:
    """Temperature from the calibration labels, from held-out scores, or from both while the former are few."""
    at = rows.held_out
    y = rows.targets[at].argmax(axis=1)
    scores = sum((v * members[name].scores for name, v in shares.items()), np.zeros((len(at), theta.shape[1])))
    metrics = {"held_out": quality(scores, y)} if len(y) else {}
    if given is None or not len(np.asarray(given[1])):
        return 1.0, metrics  # every member stands at its own temperature, and the shares were fitted by log-loss
    fresh, labels = features(given[0]) @ theta[:-1] + theta[-1], np.asarray(given[1], dtype=np.int64)
    if len(labels) >= CALIBRATION_ALONE:
        temperature = cal.fit_temperature(fresh, labels)
    else:
        temperature = cal.fit_temperature(np.concatenate([scores, fresh]), np.concatenate([y, labels]))
    return temperature, {**metrics, "calibration": quality(fresh / temperature, labels)}


def quality(scores: Matrix, y: npt.NDArray[np.integer]) -> dict[str, float]:
    """Accuracy with interval, log-loss, ECE and Brier score of scores [n, K]."""
    p = cal.softmax(scores)
    right = cal.accuracy(p.argmax(axis=1), y)
    return {
        "n": len(y),
        "accuracy": right.estimate,
        "accuracy_low": right.low,
        "accuracy_high": right.high,
        "log_loss": cal.log_loss(scores, y),
        "ece": cal.expected_calibration_error(p, y),
        "brier": cal.brier_score(p, y),
    }


def _hyperparameters(
    members: Mapping[str, _Member], shares: Mapping[str, float], features: FeatureMap, seed: int
) -> dict[str, Any]:
    chosen = {name: {**members[name].choice, "temperature": members[name].temperature} for name in members}
    return {
        "members": chosen,
        "shares": dict(shares),
        "random_features": features.count,
        "direct": features.direct,
        "folds": FOLDS,
        "seed": seed,
    }
