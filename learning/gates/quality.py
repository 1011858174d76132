"""Gates on answers to labeled texts: accuracy, audit, categories, forgetting, calibration, slices, distribution."""

from __future__ import annotations

import math

import numpy as np

from learning.core.calibration import expected_calibration_error, paired_difference, wilson
from learning.gates.evidence import Evidence, Judged, Labeled
from learning.gates.result import ENOUGH, Result

FEW = 10  # of one category or slice
DRAWS = 200


def accuracy(e: Evidence) -> Result:
    """Not inferior to what serves: the interval of the difference must not lie below zero."""
    return _against("accuracy", e.candidate, e.serving, e.test, e.thresholds.margin)


def audit(e: Evidence) -> Result:
    """On blind random draws, the only labels that no selection has shaped."""
    limit = e.thresholds.audit_accuracy
    if e.audited is None or len(e.audited) < ENOUGH:
        return Result("audit accuracy", True, None, limit, f"fewer than {ENOUGH} audited labels outside the train fold")
    right = e.candidate.right(e.audited)
    found = wilson(int(right.sum()), len(right))
    detail = f"right on {len(right)} audited texts, 95 % interval {found.low:.3f} to {found.high:.3f}"
    return Result("audit accuracy", found.high >= limit, found.estimate, limit, detail)


def categories(e: Evidence) -> Result:
    """Every category by itself: none may fall to its floor, or below what serves, while the average looks well."""
    limit, keys = e.thresholds.category_recall, np.array(e.test.keys)
    mine, theirs = e.candidate.right(e.test), e.serving.right(e.test)
    judged = [key for key in sorted(set(e.test.keys)) if (keys == key).sum() >= FEW]
    confidence = 1 - 0.05 / max(len(judged), 1)
    worst, broken = 1.0, []
    for key in judged:
        own = keys == key
        recall = wilson(int(mine[own].sum()), int(own.sum()), confidence=confidence)
        change = paired_difference(mine[own], theirs[own], confidence=confidence)
        worst = min(worst, recall.estimate)
        if recall.high < limit or change.high < -e.thresholds.margin:
            broken.append(f"{key} ({recall.estimate:.2f}, was {theirs[own].mean():.2f})")
    detail = f"lowest recall of {len(judged)} categories with {FEW} test labels or more"
    return Result("categories", not broken, worst, limit, detail + (f"; broken: {', '.join(broken)}" if broken else ""))


def forgetting(e: Evidence) -> Result:
    """What each past version knew, on the test labels of its time."""
    limit, found = e.thresholds.forgetting, []
    for past, known in e.past.values():
        if len(known) >= ENOUGH:
            found.append(_against("forgetting", e.candidate, past, known, limit))
    if not found:
        return Result("forgetting", True, None, limit, "no past version with enough test labels")
    worst = min(found, key=lambda r: (r.passed, r.value))
    return Result(
        "forgetting", worst.passed, worst.value, worst.threshold, f"of {len(found)} past versions: {worst.detail}"
    )


def calibration(e: Evidence) -> Result:
    """ECE beyond the threshold, and beyond what chance gives a perfectly calibrated model on so few labels."""
    limit = e.thresholds.calibration
    known = e.test.only(np.array([k in e.head.categories for k in e.test.keys], dtype=bool))
    if len(known) < ENOUGH:
        return Result("calibration", True, None, limit, f"fewer than {ENOUGH} test labels")
    p = e.head.predict(known.x).astype(np.float64)
    y = np.array([e.head.categories.index(k) for k in known.keys])
    found = expected_calibration_error(p, y)
    rng = np.random.default_rng(0)
    cumulative = p.cumsum(axis=1)
    draws = [(rng.random((len(p), 1)) > cumulative).sum(axis=1).clip(max=p.shape[1] - 1) for _ in range(DRAWS)]
    chance = float(np.quantile([expected_calibration_error(p, drawn) for drawn in draws], 0.95))
    detail = f"expected calibration error on {len(p)} test labels; chance alone gives up to {chance:.3f}"
    return Result("calibration", found <= max(limit, limit / 2 + chance), found, limit, detail)


def fairness(e: Evidence) -> Result:
    """Locale, channel and metadata: no slice may be answered worse than all others, beyond the gap that serves already."""
    limit, right, before = e.thresholds.fairness, e.candidate.right(e.test), e.serving.right(e.test)
    worst, unfair = 0.0, []
    judged = {name: rows for name, rows in e.slices.items() if min(rows.sum(), (~rows).sum()) >= ENOUGH}
    for name, rows in judged.items():
        gap = float(right[~rows].mean() - right[rows].mean())
        known = float(before[~rows].mean() - before[rows].mean())
        sigma = math.sqrt(sum(max(v.var(), 0.25 / len(v)) / len(v) for v in (right[rows], right[~rows])))
        worst = max(worst, gap)
        if gap - 1.96 * sigma > limit and gap > known:
            unfair.append(f"{name} ({100 * gap:.0f} points below)")
    detail = f"largest gap of accuracy among {len(judged)} slices" + (
        f"; unfair: {', '.join(unfair)}" if unfair else ""
    )
    return Result("fairness", not unfair, worst, limit, detail)


NARROWED = 0.5


def distribution(e: Evidence) -> Result:
    """PSI of predicted categories against what serves; a model that answers everything with few of them is stopped.

    Where both were right to move, the labels say so: the distance to the labels' own shares then must not have grown. How
    often category texts alone answer with each category says nothing about how often it is right: a first model may move away
    from them, as long as it answers with no fewer categories than ``NARROWED`` of theirs.
    """
    limit = e.thresholds.distribution
    x = e.pool if e.pool is not None and len(e.pool) >= ENOUGH else e.test.x
    if len(x) < ENOUGH:
        return Result("prediction distribution", True, None, limit, "too few texts to compare on")
    keys = sorted(set(e.head.categories) | set(e.serving.categories) | set(e.test.keys))
    mine, theirs = (_shares(judged.answers(x), keys) for judged in (e.candidate, e.serving))
    if not e.serving.learned:
        kept = _breadth(mine) / _breadth(theirs)
        detail = f"answers with {_breadth(mine):.1f} categories where {e.serving.name} has {_breadth(theirs):.1f}, on {len(x)} texts"
        return Result("prediction distribution", kept >= NARROWED, kept, NARROWED, detail)
    found, chance = _psi(mine, theirs), 2 * (len(keys) - 1) / len(x)
    passed = found <= limit + 2 * chance
    if not passed and len(e.test) >= ENOUGH:
        truth = _shares(list(e.test.keys), keys)
        on_test = [_psi(_shares(judged.answers(e.test.x), keys), truth) for judged in (e.candidate, e.serving)]
        passed = on_test[0] <= on_test[1] + limit
    detail = f"PSI of predicted categories against {e.serving.name} on {len(x)} texts"
    return Result("prediction distribution", passed, found, limit, detail)


def _against(name: str, mine: Judged, theirs: Judged, on: Labeled, margin: float) -> Result:
    """Fails where the interval shows a drop; tells whether non-inferiority within the margin is shown as well."""
    if len(on) < ENOUGH:
        detail = f"{len(on)} labels in the test fold are too few to compare on; {ENOUGH} are needed"
        return Result(name, True, None, -margin, detail)
    gain = paired_difference(mine.right(on), theirs.right(on))
    shown = "not inferior" if gain.low >= -margin else "too few labels to show more" if gain.high >= 0 else "inferior"
    detail = f"gain over {theirs.name} on {len(on)} labels, 95 % interval {gain.low:+.3f} to {gain.high:+.3f}: {shown}"
    return Result(name, bool(gain.low >= -margin or gain.high >= 0), gain.estimate, -margin, detail)


def _shares(answers: list[str], keys: list[str]) -> np.ndarray:
    counts = np.array([answers.count(key) for key in keys], dtype=np.float64) + 0.5
    return np.asarray(counts / counts.sum())


def _breadth(shares: np.ndarray) -> float:
    """How many categories are answered with, each by its weight: the exponential of the entropy (Hill 1973, order 1)."""
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _psi(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) * np.log(a / b)).sum())
