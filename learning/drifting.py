"""One drift check of one encoder variant: collect, compare, say what kind of change it is, and report.

Everything is computed before anything is written. The default test alone decides whether a check is critical; detectors by
name and slices explain it, corrected for their own number, and never alarm by themselves (docs/decisions/0054).
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback import outbox
from feedback.models import Inquiry, Job
from learning import drift_attributions, evidence
from learning.audits import Answer, accuracy, audited_answers, counts
from learning.core.audit import drop_bounds
from learning.core.drift.attribution import AttributionShift
from learning.core.drift.combined import SMALLEST, Calibration, check_slices, holm, resamples_for
from learning.core.drift.combined import Report as Found
from learning.core.drift.detectors import BY_NAME, PARTS
from learning.core.drift.explain import (
    Signals,
    calibration_drift,
    concept_drift,
    drifted_texts,
    label_drift,
    share_shifts,
    tell_apart,
)
from learning.core.drift.reference import Comparison, Reference, Window
from learning.drift_evidence import Evidence, Texts, encoders_in_use, kept, newest_after, reference_for
from learning.looks import looks_now
from learning.models import DriftReport, DriftSettings, DriftState
from serving.models import DecisionRecord

UNUSUAL = 0.05  # uncorrected: a warning
FEWEST_AUDITS = 30
SLICED = (("locale", 4), ("channel", 4), ("category", 8))
SLICE_REFERENCE, SLICE_RESAMPLES = 100, 400
EXAMPLES, SHIFTS = 12, 8
Progress = Callable[[float, str], None]


def _silent(share: float, stage: str) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Checked:
    """A finished comparison, not yet written."""

    evidence: Evidence
    texts: Texts
    looks: int
    found: Found
    null: NDArray[np.float64]
    slices: list[dict[str, Any]]
    signals: Signals
    calibration_p: float | None
    comparison: Comparison
    attribution: AttributionShift | None
    cpu_seconds: float

    @property
    def state(self) -> DriftState:
        if self.found.drifted:
            return DriftState.CRITICAL
        return DriftState.WARNING if self.found.default.p_value <= UNUSUAL else DriftState.STEADY


def check(*, project_id: int, encoder_sha: str, progress: Progress = _silent) -> Checked | None:
    """Compare the newest texts with the reference; None while there are too few of either."""
    progress(0.0, "reading the reference")
    known = reference_for(project_id=project_id, encoder_sha=encoder_sha)
    if known is None:
        return None
    told = DriftSettings.of(project_id)
    texts = newest_after(known, most=told.check_after)
    if texts is None:
        return None
    # The encoders of a project (its languages) share the level like looks do.
    looks = looks_now(project_id) * len(encoders_in_use(project_id=project_id))
    return compared(known, texts, looks=looks, level=told.false_alarms, progress=progress)


def compared(known: Evidence, texts: Texts, *, looks: int, level: float, progress: Progress = _silent) -> Checked:
    """The comparison itself: the same evidence, looks and level give the same figures."""
    began = time.process_time()
    rng = np.random.default_rng(known.seed)
    window = known.window(texts)
    progress(0.1, "calibrating")
    calibration = _calibration(known.reference, len(texts.ids), resamples_for(level, looks))
    progress(0.6, "comparing")
    found = calibration.check(window, level=level, looks=looks)
    progress(0.7, "looking at slices")
    slices = _slices(known, texts, window, rng)
    progress(0.9, "telling kinds apart")
    signals, calibration_p = _signals(known, texts, found, rng)
    comparison, attribution = known.reference.compare(window), drift_attributions.shift_of(known, texts)
    cpu = time.process_time() - began
    return Checked(
        known,
        texts,
        looks,
        found,
        calibration.null_combined,
        slices,
        signals,
        calibration_p,
        comparison,
        attribution,
        cpu,
    )


def _calibration(reference: Reference, n: int, resamples: int) -> Calibration:
    """Kept under all that it depends on: the reference's arrays, the window's size, the resamples."""
    name = f"{reference.sha256[:32]}-{n}-{resamples}"
    null = evidence.read_arrays(name)
    if null is not None:
        return Calibration.of_null(reference, n, null)
    rng = np.random.default_rng(reference.seed)
    made = Calibration(reference, n, rng=rng, names=tuple(BY_NAME), resamples=resamples)
    evidence.keep_arrays(name, made.null)
    return made


def _slices(known: Evidence, texts: Texts, window: Window, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The default test within each locale, channel and answered category that is large enough on both sides."""
    named: dict[tuple[str, str], tuple[Reference, Window]] = {}
    before, now = fields(known.texts.ids), fields(texts.ids)
    for by, most in SLICED:
        sizes = Counter(row[by] for row in now if row[by])
        for value, _ in sizes.most_common(most):
            ours, theirs = (np.flatnonzero([row[by] == value for row in rows]) for rows in (before, now))
            large = len(ours) >= SLICE_REFERENCE and len(theirs) >= SMALLEST
            if large and len(theirs) < len(texts.ids):  # a slice of everything says nothing more
                named[by, value] = (known.part(ours), _part(window, theirs))
    reports = check_slices(
        {f"{by}={value}": pair for (by, value), pair in named.items()}, rng=rng, level=1.0, resamples=SLICE_RESAMPLES
    )
    adjusted = holm(np.array([r.default.p_value for r in reports.values()])) if reports else np.zeros(0)
    p = dict(zip(reports, adjusted.tolist(), strict=True))
    return [
        {"by": by, "value": value, "n": reports[name].n, "p": p[name], "drifted": p[name] <= UNUSUAL}
        for by, value in named
        if (name := f"{by}={value}") in reports
    ]  # fmt: skip


def _part(window: Window, rows: NDArray[np.int64]) -> Window:
    if window.predictions is None or window.strangeness is None:
        return Window(window.x[rows])
    return Window(window.x[rows], window.predictions[rows], window.strangeness[rows])


def fields(ids: Sequence[uuid.UUID]) -> list[dict[str, str]]:
    """Locale, channel and answered category of each inquiry, in order."""
    told = Inquiry.objects.filter(pk__in=ids).values_list("pk", "locale", "channel")
    said = dict(DecisionRecord.objects.filter(inquiry_id__in=ids).values_list("inquiry_id", "category__key"))
    known = {pk: {"locale": lo[:2], "channel": ch, "category": said.get(pk) or ""} for pk, lo, ch in told}
    return [known.get(pk, {"locale": "", "channel": "", "category": ""}) for pk in ids]


def _signals(known: Evidence, texts: Texts, found: Found, rng: np.random.Generator) -> tuple[Signals, float | None]:
    """p-values of the four kinds, and of the confidence being too high."""
    p = {f.detector: f.p_value for f in found.findings}
    unusual = found.default.p_value <= UNUSUAL  # where the default test sees nothing, its parts say nothing either
    answers = audited_answers(project_id=known.row.project_id)
    begins = _arrivals(texts)[0]
    now, before = [a for a in answers if a.at >= begins], [a for a in answers if a.at < begins]
    served = {a.model for a in now}
    own = [a for a in before if a.model in served]
    enough = len(now) >= FEWEST_AUDITS
    signals = Signals(
        input=min(1.0, 2 * min(p["novelty"], p["novel_density"])) if unusual else 1.0,
        prediction=p["cell_shares"] if unusual else 1.0,
        label=_label_p(before, now, rng) if enough and len(before) >= FEWEST_AUDITS else None,
        concept=_concept_p(own, now) if enough and len(own) >= FEWEST_AUDITS else None,
        accuracy_fell=enough and bool(own) and drop_bounds(accuracy(own), accuracy(now))[0] > 0,
    )
    sure = calibration_drift([a.hit for a in now], [a.confidence for a in now]) if enough else None
    return signals, sure


def _label_p(before: Sequence[Answer], now: Sequence[Answer], rng: np.random.Generator) -> float:
    keys = sorted({a.right for a in [*before, *now]})
    return label_drift(counts([a.right for a in now], keys), counts([a.right for a in before], keys), rng=rng)


def _concept_p(before: Sequence[Answer], now: Sequence[Answer]) -> float:
    """More errors than before among what the same versions answered with the same category."""
    index = {key: n for n, key in enumerate(sorted({a.said or "" for a in [*before, *now]}))}
    columns = [([not a.hit for a in rows], [index[a.said or ""] for a in rows]) for rows in (now, before)]
    return concept_drift(*columns[0], *columns[1])


def _arrivals(texts: Texts) -> tuple[Any, Any]:
    found = dict(Inquiry.objects.filter(pk__in=[texts.ids[0], texts.ids[-1]]).values_list("pk", "received_at"))
    return found[texts.ids[0]], found[texts.ids[-1]]


def report(checked: Checked, *, trigger: str, job: Job | None) -> DriftReport:
    """Write the report and, where the check is critical, the event that webhooks are told; in the caller's transaction."""
    known, found = checked.evidence, checked.found
    begins, ends = _arrivals(checked.texts)
    window = evidence.keep({"format": 1, "inquiries": [str(i) for i in checked.texts.ids]})
    told = {
        "project_id": known.row.project_id, "reference": known.row, "trigger": trigger, "window": window, "begins": begins,
        "ends": ends, "n": found.n, "looks": checked.looks, "resamples": len(checked.null), "level": found.level,
        "state": checked.state, "statistic": found.default.value, "p_value": found.default.p_value,
        "threshold": float(np.quantile(checked.null, 1 - found.level)), "parts": found.parts, "detectors": _detectors(checked),
        "slices": checked.slices, "signals": {**asdict(checked.signals), "calibration": checked.calibration_p},
        "kinds": [k.code for k in tell_apart(checked.signals)], "cpu_seconds": checked.cpu_seconds, **_shown(checked),
    }  # fmt: skip
    row, made = DriftReport.objects.get_or_create(job=job, encoder_sha=known.row.encoder_sha, defaults=told)
    if made and row.drifted:
        outbox.publish(kind="drift.alarm", project_id=row.project_id, payload={"report": row.pk})
    return row


def _shown(checked: Checked) -> dict[str, Any]:
    """Texts that show the change, by id, and the classes whose shares moved."""
    classes, ids = checked.evidence.classes, checked.texts.ids
    return {
        "examples": [
            {"inquiry": str(ids[e.index]), "p": e.p_value, "companions": e.companions}
            for e in drifted_texts(checked.comparison, most=EXAMPLES)
        ],
        "shifts": [
            {"category": classes[s.cell] if classes else f"#{s.cell + 1}", "window": s.window, "reference": s.reference, "z": s.z}
            for s in share_shifts(checked.comparison, most=SHIFTS)
        ],
    }  # fmt: skip


def _detectors(checked: Checked) -> list[dict[str, Any]]:
    """Parts as they are; detectors by name after Holm's correction for their number; attributions, where there are any."""
    found, attribution = checked.found, checked.attribution
    parts = [f for f in found.findings if f.detector in PARTS]
    named = [f for f in found.findings if f.detector not in PARTS]
    p = [f.p_value for f in parts] + holm(np.array([f.p_value for f in named])).tolist()
    return [
        {"name": f.detector, "value": f.value, "p": float(at), "drifted": bool(at <= UNUSUAL), "part": f.detector in PARTS}
        for f, at in zip([*parts, *named], p, strict=True)
    ] + ([drift_attributions.detector(attribution, UNUSUAL)] if attribution else [])  # fmt: skip


@dataclass(frozen=True)
class Rebuilt:
    """A report made again, and whether its figures are what they were."""

    same: bool
    statistic: float
    p_value: float


def rebuild(row: DriftReport) -> Rebuilt:
    """Make a report again from its evidence. LookupError where texts of it were erased since."""
    known, texts = kept(row)
    found = _calibration(known.reference, row.n, row.resamples).check(known.window(texts), level=row.level)
    same = abs(found.default.value - row.statistic) < 1e-9 and found.default.p_value == row.p_value
    return Rebuilt(same, found.default.value, found.default.p_value)
