"""The loop guard on a project's own labels: how much of the training is the model's own opinion, and weights that bound it.

A row of a training set that no person has labeled is the model's own answer. A label given after the suggestion was seen may
be a copy of it; how many are is estimated against blind labels of the same confidence (learning/core/loop_guard.py).
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from feedback.models import Fold, Job
from labeling.models import Label
from learning.audits import Answer, audited_answers
from learning.core.audit import audited_shares
from learning.core.loop_guard import (
    Alpha,
    Labels,
    Origin,
    alarms,
    exposure_bias,
    guarded_weights,
    largest_eigenvalue,
    measure_alpha,
    sharpening,
)
from learning.datasets import Dataset, Row
from learning.models import DriftSettings, GuardReport
from serving.models import DecisionRecord

Floats = NDArray[np.float64]
# Labels are compared within these bins of the model's confidence: a suggestion is not shown at random.
CONFIDENCE = np.array([0.3, 0.5, 0.7, 0.85, 0.95])
INCOMPARABLE = -1  # rows about which the model said nothing
FEWEST_AUDITED = 30
CHUNK = 5_000


@dataclass(frozen=True)
class Source:
    """Where the labels of a training set came from, row by row."""

    rows: tuple[Row, ...]
    origin: NDArray[np.int64]
    agrees: NDArray[np.bool_]
    stratum: NDArray[np.int64]

    @property
    def training(self) -> NDArray[np.bool_]:
        return np.array([r.fold == Fold.TRAIN for r in self.rows], dtype=bool)

    @property
    def maybe_own(self) -> NDArray[np.bool_]:
        """The model's own answers, and labels that agree with a suggestion their author saw: which were copied is not known."""
        return np.asarray((self.origin == Origin.OWN) | ((self.origin == Origin.SEEN) & self.agrees), dtype=bool)

    def labels(self, weight: Floats) -> Labels:
        """Those outside the train fold take part in the comparison with weight 0."""
        return Labels(self.origin, np.where(self.training, weight, 0.0), self.agrees, self.stratum)


@dataclass(frozen=True)
class Guard:
    """What was measured of one training set. Shares (C,) follow ``categories``."""

    alpha: Alpha
    labels: int
    audited: int
    categories: tuple[str, ...]
    training_shares: Floats
    shares: Floats | None  # of the audit
    exposure: float | None
    power: float | None
    eigenvalue: float | None
    bound: float

    @property
    def codes(self) -> list[str]:
        found = alarms(self.alpha, bound=self.bound, eigenvalue=self.eigenvalue or 0.0, exposure=self.exposure or 0.0)
        return [a.code for a in found]


def sources(rows: Sequence[Row]) -> Source:
    """Look up who labeled each row, whether the suggestion was seen, and what the model had said."""
    ids = [r.inquiry for r in rows]
    seen, said = _seen(ids), _said(ids)
    origin = [Origin.OWN if r.inquiry not in seen else Origin.SEEN if seen[r.inquiry] else Origin.BLIND for r in rows]
    told = [said.get(r.inquiry) for r in rows]
    agrees = [t is not None and t[0] == r.category for t, r in zip(told, rows, strict=True)]
    stratum = [INCOMPARABLE if t is None else int(np.searchsorted(CONFIDENCE, t[1])) for t in told]
    return Source(
        tuple(rows), np.array(origin, dtype=np.int64), np.array(agrees, dtype=bool), np.array(stratum, dtype=np.int64)
    )


def _seen(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, bool]:
    found: dict[uuid.UUID, bool] = {}
    for part in _parts(ids):
        rows = Label.objects.filter(inquiry_id__in=part, category__isnull=False)
        found |= dict(rows.values_list("inquiry_id", "saw_suggestion"))
    return found


def _said(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, tuple[str, float]]:
    found: dict[uuid.UUID, tuple[str, float]] = {}
    for part in _parts(ids):
        rows = DecisionRecord.objects.filter(inquiry_id__in=part, category__isnull=False)
        found |= {pk: (key, sure) for pk, key, sure in rows.values_list("inquiry_id", "category__key", "confidence")}
    return found


def _parts(ids: Collection[uuid.UUID]) -> list[list[uuid.UUID]]:
    known = list(ids)
    return [known[at : at + CHUNK] for at in range(0, len(known), CHUNK)]


def measured(source: Source, weight: Floats, *, project_id: int) -> Guard | None:
    """α and what it would lead to; None where nothing trains."""
    training, bound = source.training, DriftSettings.of(project_id).alpha_bound
    if not (weight[training] > 0).any():
        return None
    alpha, answers = measure_alpha(source.labels(weight)), audited_answers(project_id=project_id)
    keys = tuple(sorted({r.category for r in source.rows} | {a.right for a in answers}))
    index = {key: n for n, key in enumerate(keys)}
    given = _shares([index[r.category] for r in source.rows], np.where(training, weight, 0.0), len(keys))
    found = Guard(alpha, int(training.sum()), len(answers), keys, given, None, None, None, None, bound)
    if len(answers) < FEWEST_AUDITED:
        return found
    shares = audited_shares([index[a.right] for a in answers], [a.propensity for a in answers], len(keys))
    power = _power(answers, index)
    gain = largest_eigenvalue(alpha.estimate, sharpening(power), shares)
    exposure = _exposure(given, shares, len(answers))
    return replace(found, shares=shares, exposure=exposure, power=power, eigenvalue=gain)


def _shares(labels: Sequence[int], weight: Floats, classes: int) -> Floats:
    mass = np.bincount(np.array(labels, dtype=np.int64), weights=weight, minlength=classes)
    return np.asarray(mass / mass.sum())


def _exposure(given: Floats, shares: Floats, n: int) -> float:
    """Exposure bias beyond what n draws show by chance: the expected total variation is about Σ√(p(1−p)/(2πn))."""
    chance = float(np.sqrt(shares * (1 - shares) / (2 * math.pi * n)).sum())
    return max(exposure_bias(given, shares) - chance, 0.0)


def _power(answers: Sequence[Answer], index: dict[str, int]) -> float:
    """How much the model favours the likelier class: slope of log answered on log true shares, weighted by the true ones."""
    true, answered = (
        np.bincount([index[key] for key in keys if key in index], minlength=len(index)) + 1.0
        for keys in ([a.right for a in answers], [a.said or "" for a in answers])
    )
    x, y = (np.log(n / n.sum()) for n in (true, answered))
    x, y = x - np.average(x, weights=true), y - np.average(y, weights=true)
    spread = float((true * x * x).sum())
    return float((true * x * y).sum() / spread) if spread > 1e-9 else 1.0


def guarded(dataset: Dataset) -> tuple[Dataset, Guard | None, float | None]:
    """The dataset as it may be trained on, what was measured of it as it came, and, where weights were needed, the share of
    weight that may be the model's own under them (else None).

    The bound holds for every label that may have been copied, and the classes come to the shares of the blind audit.
    """
    told, source, weight = DriftSettings.of(dataset.project_id), sources(dataset.rows), dataset.weights()
    found = measured(source, weight, project_id=dataset.project_id)
    if found is None or not told.guard_weights or found.alpha.upper < told.alpha_bound:
        return dataset, found, None
    training, own = source.training, source.maybe_own
    if own[training].all():  # nothing but the model's own: there is nothing to hold on to, and the alarm says so
        return dataset, found, None
    index = {key: n for n, key in enumerate(found.categories)}
    labels = np.array([index[r.category] for r in dataset.rows], dtype=np.int64)
    target = found.training_shares if found.shares is None else found.shares
    weight[training] = guarded_weights(
        labels[training], own[training], weight[training], target, bound=told.alpha_bound
    )
    rows = tuple(replace(r, weight=float(w)) for r, w in zip(dataset.rows, weight, strict=True))
    left = float(weight[training & own].sum() / weight[training].sum())
    return replace(dataset, rows=rows), found, left


def report(
    found: Guard, *, project_id: int, encoder_sha: str, job: Job | None, ceiling: float | None = None
) -> GuardReport:
    """Store what was measured; in the caller's transaction."""
    a = found.alpha
    return GuardReport.objects.create(
        project_id=project_id, job=job, encoder_sha=encoder_sha, labels=found.labels, alpha=a.estimate, lower=a.lower,
        upper=a.upper, own=a.own, seen=a.seen, ceiling=a.ceiling, copy_rate=None if math.isnan(a.copy_rate) else a.copy_rate,
        exposure=found.exposure, eigenvalue=found.eigenvalue, power=found.power, audited=found.audited, bound=found.bound,
        shares=_named(found.categories, found.shares), training_shares=_named(found.categories, found.training_shares),
        alarms=found.codes, guarded=ceiling is not None, ceiling_guarded=ceiling,
    )  # fmt: skip


def _named(categories: Sequence[str], shares: Floats | None) -> dict[str, float]:
    return {} if shares is None else dict(zip(categories, shares.tolist(), strict=True))
