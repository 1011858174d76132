"""Which texts drifted, which shares moved, and what kind of drift it is, in words.

Four kinds are told apart (Gama et al. 2014): *input* drift, texts unlike those known; *prediction* drift, the model's
answers shift; *label* drift, what is truly asked for shifts; *concept* drift, the same kind of text now deserves
another answer. Only the last, or a loss of audited accuracy, says that the model is worse; the others are leads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from learning.core.drift.detectors import chi_squared, novelty_of, smoothed_shares
from learning.core.drift.reference import Comparison

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Example:
    """A window text that the reference does not explain. ``p_value`` is conformal; ``companions`` are novel texts like
    it.
    """

    index: int
    p_value: float
    companions: int


@dataclass(frozen=True)
class ShareShift:
    """A class (or cell) whose share moved by ``z`` standard errors."""

    cell: int
    window: float
    reference: float
    z: float


def drifted_texts(c: Comparison, *, most: int = 20, level: float = 0.05) -> list[Example]:
    """The most telling novel texts: those with many novel companions first, then by p-value."""
    surprise = novelty_of(c)
    novel = surprise >= -math.log(level)
    i, j, _ = c.pairs
    alike = novel[i] & novel[j]
    companions = np.bincount(i[alike], minlength=c.n) + np.bincount(j[alike], minlength=c.n)
    order = np.lexsort((-surprise, -companions, ~novel))[: min(most, int(novel.sum()))]
    return [Example(int(t), float(np.exp(-surprise[t])), int(companions[t])) for t in order]


def share_shifts(c: Comparison, *, most: int = 10) -> list[ShareShift]:
    """The classes whose share moved most beyond chance (|z| of two proportions), largest first."""
    w, r = np.bincount(c.cells, minlength=len(c.cell_counts)), c.cell_counts
    p, q = w / w.sum(), r / r.sum()
    pooled = (w + r) / (w.sum() + r.sum())
    spread = np.sqrt(pooled * (1 - pooled) * (1 / w.sum() + 1 / r.sum()))
    z = np.where(spread > 0, (p - q) / np.where(spread > 0, spread, 1), 0.0)
    order = np.argsort(-np.abs(z), kind="stable")[:most]
    return [ShareShift(int(k), float(p[k]), float(q[k]), float(z[k])) for k in order if z[k] != 0]


def label_drift(window: Ints, reference: Ints, *, rng: np.random.Generator, resamples: int = 999) -> float:
    """p-value that two rows of blind label counts (C,) share one distribution: chi-squared against its own resampling."""
    shares = smoothed_shares(window + reference)
    draws = zip(*(rng.multinomial(int(n.sum()), shares, resamples) for n in (window, reference)), strict=True)
    null = np.array([chi_squared(w, r) for w, r in draws])
    return float((1 + (null >= chi_squared(window, reference)).sum()) / (resamples + 1))


def concept_drift(wrong: ArrayLike, stratum: ArrayLike, wrong_before: ArrayLike, stratum_before: ArrayLike) -> float:
    """One-sided p-value that audited answers of the same stratum (predicted class, topic) are wrong more often than
    before.

    Mantel-Haenszel over the strata, so that a mere shift between easy and hard classes does not count. Inputs are 0/1
    and stratum ids per audited answer. 1 where no stratum was audited on both sides.
    """
    now, before = (np.asarray(a, dtype=float) for a in (wrong, wrong_before))
    s_now, s_before = np.asarray(stratum), np.asarray(stratum_before)
    excess = variance = 0.0
    for s in np.intersect1d(s_now, s_before):
        a, b = now[s_now == s], before[s_before == s]
        n, m, errors = len(a), len(b), a.sum() + b.sum()
        whole = n + m
        excess += a.sum() - n * errors / whole
        variance += n * m * errors * (whole - errors) / (whole**2 * max(whole - 1, 1))
    return _upper_tail(excess, variance)


def calibration_drift(correct: ArrayLike, confidence: ArrayLike) -> float:
    """One-sided p-value that answers are right less often than their confidence says (calibration in the large, Cox
    1958).
    """
    y, p = np.asarray(correct, dtype=float), np.asarray(confidence, dtype=float)
    return _upper_tail(float((p - y).sum()), float((p * (1 - p)).sum()))


def _upper_tail(excess: float, variance: float) -> float:
    return 1.0 if variance <= 0 else 1 - NormalDist().cdf(excess / math.sqrt(variance))


@dataclass(frozen=True)
class Signals:
    """p-values, None where nothing was measured; ``accuracy_fell``: the audited drop is beyond doubt."""

    input: float | None = None
    prediction: float | None = None
    label: float | None = None
    concept: float | None = None
    accuracy_fell: bool = False


@dataclass(frozen=True)
class Kind:
    """``code`` for programs and translations, ``sentence`` for a person."""

    code: str
    sentence: str


SENTENCES = {
    "concept": "The same kinds of text are answered wrongly more often than before: what is right has changed.",
    "input": "Customers write texts unlike those the model knows.",
    "label": "What customers ask for is distributed differently than before.",
    "prediction": "The model's answers are distributed differently than before.",
    "lead": "So far the model's audited accuracy has not suffered: a lead, not a verdict.",
    "unlabeled": "Whether the answers are still right is unknown until blind labels come in.",
    "none": "Nothing has changed beyond chance.",
}


def tell_apart(signals: Signals, *, level: float = 0.05) -> list[Kind]:
    """What kind of drift the signals show, the gravest first, with what is not yet known."""
    measured = {k: getattr(signals, k) for k in ("concept", "input", "label", "prediction")}
    adjusted = level / max(sum(p is not None for p in measured.values()), 1)
    codes = [k for k, p in measured.items() if p is not None and p <= adjusted]
    harmless = codes and "concept" not in codes and not signals.accuracy_fell
    if harmless:
        codes.append("unlabeled" if signals.concept is None else "lead")
    return [Kind(code, SENTENCES[code]) for code in codes or ["none"]]
