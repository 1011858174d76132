"""Labels and the unlabeled pool → the head that is served.

Two ways are tried. The heads of `learning.core.heads.training` see the labels alone. The stack of
`learning.core.heads.stack` also sees what unlabeled texts say about each other, and looks them up when it serves (or is
distilled into weights, behind a student, which is there to be fast); it wins while labels are few. Whichever predicts
held-out labels better (log-loss, cross-validated) serves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Fold
from learning.core import calibration as cal
from learning.core.heads.features import FeatureMap
from learning.core.heads.graph import Pool
from learning.core.heads.stack import StackedHead, Student
from learning.core.heads.training import DISTILLED_FEATURES, RANDOM_FEATURES, TrainedHead, train_heads
from learning.datasets import POOL, Dataset, unlabeled
from learning.snapshots import Material
from serving import zero_shot

SEED = 0
# Beyond this many labels the closed form and logistic regression have caught up, and the pool's graph only costs.
MOST_STACKED = 3_000
STUDENT_FEATURES = 1024
# A temperature is fitted on the calibrate fold from so many labels on; before, cross-validation on the train fold gives it.
ENOUGH_TO_CALIBRATE = 50
Progress = Callable[[float, str], None]


def random_features(dataset: Dataset) -> int:
    """How many the head of this dataset's encoder has."""
    return DISTILLED_FEATURES if dataset.distilled else RANDOM_FEATURES


def pool_of(dataset: Dataset) -> tuple[list[Any], NDArray[np.float32]]:
    """Ids and embeddings of the unlabeled texts that a training on this dataset looks at; none where it would not."""
    if not 2 <= int(dataset.fold(Fold.TRAIN).sum()) <= MOST_STACKED:
        return [], dataset.x[:0]
    return unlabeled(project_id=dataset.project_id, encoder_sha=dataset.encoder_sha, limit=POOL)


def fit(material: Material, report: Progress) -> TrainedHead:
    """Train on the train fold, calibrate on the calibrate fold; neither sees the test fold. Reads no database."""
    dataset, categories, texts = material.dataset, material.categories, material.texts
    prototypes = np.stack([zero_shot.prototype(rows) for rows in texts])
    y = dataset.labels(categories)
    train, calibrate = dataset.fold(Fold.TRAIN), dataset.fold(Fold.CALIBRATE)
    held_out = (dataset.x[calibrate], y[calibrate])
    plain = train_heads(
        dataset.x[train], y[train], categories=categories, weights=dataset.weights()[train], groups=dataset.groups()[train],
        prior_prototypes=prototypes, calibration=held_out, seed=SEED, progress=lambda share, stage: report(0.6 * share, stage),
        random_features=random_features(dataset),
    )  # fmt: skip
    if not 2 <= train.sum() <= MOST_STACKED or len(np.unique(y[train])) < 2:
        return plain
    report(0.6, "reading the unlabeled pool")
    pool, digest = _pool(material, train)
    report(0.7, "stacking")
    stacked = _stacked(pool, y[train], dataset.weights()[train], categories, prototypes, look_up=not dataset.distilled)
    report(0.95, "choosing")
    return _better(plain, _calibrated(stacked, held_out), digest)


def _pool(material: Material, train: NDArray[np.bool_]) -> tuple[Pool, dict[str, Any]]:
    """Labeled rows first, then unlabeled ones of the train fold; and what the lineage says of it."""
    ids, labeled = material.pool_ids, material.dataset.x[train]
    rows = np.concatenate([labeled, material.pool]) if len(ids) else labeled
    sha = hashlib.sha256("\n".join(str(i) for i in ids).encode()).hexdigest()
    return Pool.of(rows), {"unlabeled": len(ids), "unlabeled_sha256": sha}


def _stacked(
    pool: Pool,
    y: NDArray[np.int64],
    weights: NDArray[np.float64],
    categories: tuple[str, ...],
    prototypes: NDArray[np.float32],
    *,
    look_up: bool,
) -> TrainedHead:
    """The stack on the pool, as it is or (without ``look_up``) distilled into softmax regression on the served features."""
    stack = StackedHead(pool, len(categories), prototypes=prototypes, seed=SEED).fit(
        np.arange(len(y)), y, weights=weights
    )
    features, chosen = FeatureMap(pool.x.shape[1], STUDENT_FEATURES, SEED), stack.choices
    theta = _on_features(stack.served.linear, features) if look_up else Student(pool, features).fit(stack.beliefs)
    return TrainedHead(
        kind="stack", categories=categories, features=features, temperature=1.0,
        weights=theta[:-1].astype(np.float64), bias=theta[-1].astype(np.float64),
        metrics={"held_out": {"n": len(y), **chosen.held_out}, "labels": len(y)},
        hyperparameters={"shares": dict(chosen.shares), "temperatures": dict(chosen.temperatures), "use_texts": chosen.use_texts},
        parts={}, shares={}, neighbours=stack.served.neighbours if look_up else None,
    )  # fmt: skip


def _on_features(linear: NDArray[np.float32], features: FeatureMap) -> NDArray[np.float32]:
    """The same scores from φ: [d + 1, K] on the embedding, as [m + 1, K] that leave its random part alone."""
    theta = np.zeros((features.width + 1, linear.shape[1]), dtype=np.float32)
    theta[features.count : -1], theta[-1] = linear[:-1] / np.float32(features.direct), linear[-1]
    return theta


def _calibrated(head: TrainedHead, held_out: tuple[NDArray[np.float32], NDArray[np.int64]]) -> TrainedHead:
    x, y = held_out
    if len(y) < ENOUGH_TO_CALIBRATE:
        return head
    return replace(head, temperature=float(cal.fit_temperature(head.scores(x), y)))


def _better(plain: TrainedHead, stacked: TrainedHead, pool: dict[str, Any]) -> TrainedHead:
    losses = {h.kind: _held_out_loss(h) for h in (plain, stacked)}
    best = stacked if losses[stacked.kind] < losses[plain.kind] else plain
    # The ridge that live labels go into between two trainings, whichever head serves.
    live = {key: plain.hyperparameters[key] for key in ("members", "pseudo_weights")}
    return replace(
        best, metrics={**best.metrics, "held_out_by_kind": losses},
        hyperparameters={**best.hyperparameters, **live, **pool},
    )  # fmt: skip


def _held_out_loss(head: TrainedHead) -> float:
    return float(head.metrics.get("held_out", {}).get("log_loss", float("inf")))
