"""From labels to a servable head: ridge, logistic regression and category texts, each cross-validated, and their blend.

Everything that is chosen (the ridge's λ, the regression's C, the weight of the category texts, the shares of the blend,
the temperature) is chosen on held-out folds by log-loss. All members are linear in one feature map, so whatever wins
is served by one graph. Works from no labels at all (the category texts alone), for one category, and for categories
without a label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from learning.core import calibration as cal
from learning.core.heads import candidates as cv
from learning.core.heads import linear
from learning.core.heads.blend import cross_fitted, fit_shares
from learning.core.heads.features import FeatureMap
from learning.core.heads.neighbours import NeighbourScores
from learning.core.heads.ridge import RidgeStatistics

Matrix = npt.NDArray[np.float64]
Progress = Callable[[float, str], None]
RANDOM_FEATURES = 2048
# Of the head behind a distilled encoder: reading 2,048 of them costs as much as the encoder itself, because they do not stay
# in the caches, and half of them decide as well (docs/serving.md).
DISTILLED_FEATURES = 1024
# Blends whose ridge has half a share lose nothing when they are trained, and most of what they would lose until the
# next training otherwise: the ridge is the part that follows live labels.
LIVE_SHARE = 0.5
CALIBRATION_ALONE = 200  # from so many calibration labels on, the temperature needs no held-out training scores
CHUNK = 4096


@dataclass(frozen=True)
class TrainedHead:
    """softmax((φ(x)·weights + bias + neighbours(x))/temperature), and how it came about.

    ``kind`` is prior, ridge, linear, blend, stack or the name of a challenger; ``neighbours`` is what is looked up, None
    for most heads. ``parts`` holds [m + 1, K] (weights, last row bias) of each member at its
    own temperature, and ``shares`` how much of each is in ``weights``: whoever keeps the ridge current under single
    labels replaces that part and adds up again.
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
    neighbours: NeighbourScores | None = field(default=None, repr=False)

    @property
    def projection_seed(self) -> int:
        return self.features.seed

    @property
    def served_weights(self) -> Matrix:
        """As the graph takes them: scores of neighbours are features of their own, before those of φ, each for its category."""
        if self.neighbours is None:
            return self.weights
        return np.concatenate([np.eye(len(self.categories)), self.weights])

    def scores(self, x: npt.ArrayLike) -> Matrix:
        """[n, K] before temperature and softmax."""
        own = np.asarray(self.features(x) @ self.weights + self.bias, dtype=np.float64)
        return own if self.neighbours is None else own + self.neighbours(np.atleast_2d(x))

    def undecided(self, x: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Rows [n] about whose neighbours two ways of adding up may disagree; they say nothing of an export."""
        rows = np.atleast_2d(x)
        return np.zeros(len(rows), dtype=bool) if self.neighbours is None else self.neighbours.undecided(rows)

    def probabilities(self, x: npt.ArrayLike) -> Matrix:
        return cal.softmax(self.scores(x) / self.temperature)


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
    live_share: float = LIVE_SHARE,
) -> TrainedHead:
    """Fit ridge, logistic regression and their blend with the category texts; return the best by held-out log-loss.

    ``x`` [n, d] unit embeddings, ``y`` [n] positions in ``categories``, ``weights`` [n] ≥ 0 (rows of weight 0 are left
    out), ``prior_prototypes`` [K, d] (rows of zeros: nothing is known of that category), ``groups`` [n] of near-duplicates
    that must share a fold, ``calibration`` (embeddings, labels) that train nothing but the temperature. n may be 0.
    A blend gives the ridge at least ``live_share``, and the regression is never served alone, so that live labels are
    felt (0: whatever held-out log-loss says). ``progress(share, what)`` is called as the work goes on. Raises ValueError for input that
    cannot be trained on.
    """
    report = progress or (lambda share, what: None)
    data = cv.checked(x, y, classes=len(categories), weights=weights, prototypes=prior_prototypes, groups=groups)
    features = FeatureMap(data.prototypes.shape[1], random_features, seed)
    rows = cv.rows_for_choosing(data, features, np.random.default_rng(seed))
    report(0.05, "cross-validating")
    members = cv.best_members(rows, data)
    kind, shares, losses = _best(members, rows, live_share)
    report(0.7, f"fitting {kind}")
    parts = {name: _fit(name, members[name], data, features) for name in shares}
    theta = sum((shares[name] * part for name, part in parts.items()), np.zeros((features.width + 1, data.classes)))
    held_out = _blended(members, shares)
    temperature, metrics = _calibrated(features, theta, held_out, rows.held_out[0], calibration)
    report(1.0, "trained")
    return TrainedHead(
        kind=kind,
        categories=tuple(categories),
        features=features,
        weights=theta[:-1],
        bias=theta[-1],
        temperature=temperature,
        metrics={**metrics, "held_out_log_loss": losses, "labels": len(data.y)},
        hyperparameters=_hyperparameters(members, shares, features, data, categories),
        parts=parts,
        shares=shares,
    )


def ridge_statistics(
    data: cv.Labels, features: FeatureMap, categories: Sequence[str], pseudo: float
) -> RidgeStatistics:
    """Statistics of all labels, and of the category texts as pseudo-examples of at least this weight."""
    made = RidgeStatistics(features.width, categories)
    for at in range(0, len(data.y), CHUNK):
        part = slice(at, at + CHUNK)
        made.add(features(data.x[part]), data.y[part], data.weights[part])
    if len(data.known):
        made.add(features(data.prototypes[data.known]), data.known, data.pseudo_weights(pseudo))
    return made


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


def _best(
    members: Mapping[str, cv.Candidate], rows: cv.Rows, live_share: float
) -> tuple[str, dict[str, float], dict[str, float]]:
    """(kind, shares of its members, held-out log-loss of every kind; that of the blend is cross-fitted)."""
    if "ridge" not in members:
        return "prior", {"prior": 1.0}, {}
    y, w = rows.held_out
    scores, start = [m.scores for m in members.values()], cv.starting_shares(len(members))
    least = [live_share if name == "ridge" else 0.0 for name in members]
    losses = {name: member.loss for name, member in members.items()}
    blended = cross_fitted(scores, y, w, rows.folds[rows.at], start=start, least=least)
    losses["blend"] = cal.log_loss(blended, y, w)
    kind = min((name for name in losses if not (live_share and name == "linear")), key=lambda name: losses[name])
    if kind != "blend":
        return kind, {kind: 1.0}, losses
    shares = fit_shares(scores, y, w, start=start, least=least)
    return kind, {name: float(v) for name, v in zip(members, shares, strict=True) if v > 0}, losses


def _blended(members: Mapping[str, cv.Candidate], shares: Mapping[str, float]) -> Matrix:
    first = next(iter(members.values())).scores
    return sum((share * members[name].scores for name, share in shares.items()), np.zeros_like(first))


def _fit(name: str, member: cv.Candidate, data: cv.Labels, features: FeatureMap) -> Matrix:
    """[m + 1, K] of one member on all rows, at its temperature."""
    theta = np.zeros((features.width + 1, data.classes))
    if name == "ridge":
        keys = [str(k) for k in range(data.classes)]
        theta[:-1] = ridge_statistics(data, features, keys, member.choice["pseudo"]).solve(member.choice["lambda"])
    else:
        flat = _regression(data, member) if name == "linear" else np.r_[data.prototypes.T, np.zeros((1, data.classes))]
        theta[-1 - features.dimension :] = flat
        theta[-1 - features.dimension : -1] /= features.direct
    return theta / member.temperature


def _regression(data: cv.Labels, member: cv.Candidate) -> Matrix:
    eye = np.eye(data.classes)
    x = np.concatenate([data.x, data.prototypes[data.known]])
    targets = np.concatenate([eye[data.y], eye[data.known]])
    weights = np.concatenate([data.weights, data.pseudo_weights(member.choice["pseudo"])])
    start = linear.fit_linear(x, targets, weights, C=member.choice["C"], exact=False)
    return linear.fit_linear(x, targets, weights, C=member.choice["C"], start=start)


def _calibrated(
    features: FeatureMap,
    theta: Matrix,
    held_out: Matrix,
    y: npt.NDArray[np.int64],
    given: tuple[npt.ArrayLike, npt.ArrayLike] | None,
) -> tuple[float, dict[str, Any]]:
    """Temperature from the calibration labels; while these are few, together with the held-out scores."""
    metrics = {"held_out": quality(held_out, y)} if len(y) else {}
    if given is None or not len(np.asarray(given[1])):
        return 1.0, metrics  # every member stands at its own temperature, and the shares were fitted by log-loss
    fresh, labels = features(given[0]) @ theta[:-1] + theta[-1], np.asarray(given[1], dtype=np.int64)
    if len(labels) >= CALIBRATION_ALONE:
        temperature = cal.fit_temperature(fresh, labels)
    else:
        temperature = cal.fit_temperature(np.concatenate([held_out, fresh]), np.concatenate([y, labels]))
    return temperature, {**metrics, "calibration": quality(fresh / temperature, labels)}


def _hyperparameters(
    members: Mapping[str, cv.Candidate],
    shares: Mapping[str, float],
    features: FeatureMap,
    data: cv.Labels,
    categories: Sequence[str],
) -> dict[str, Any]:
    """All that was chosen, as plain values; ``pseudo_weights`` are those in the ridge, by category."""
    chosen = {name: {**member.choice, "temperature": member.temperature} for name, member in members.items()}
    pseudo = data.pseudo_weights(members["ridge"].choice["pseudo"] if "ridge" in members else 0.0)
    return {
        "members": chosen,
        "shares": dict(shares),
        "pseudo_weights": {categories[at]: float(w) for at, w in zip(data.known, pseudo, strict=True)},
        "random_features": features.count,
        "direct": features.direct,
        "seed": features.seed,
    }
