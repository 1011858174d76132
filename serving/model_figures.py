"""What the page of models and rollouts shows: figures from rows, for the template."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from serving import registry, rollout_evidence, rollout_words
from serving.models import ModelVersion, Rollout, RolloutEvidence, RolloutLook, Stage
from serving.rollout import ACTIVE, WATCHED
from serving.sequential import Evidence, Metric, e_value, interval

VERSIONS, PAST, LOOKS = 20, 8, 60
_MEDIANS = """SELECT d.model_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY d.took_ms)
FROM feedback_inquiry i JOIN serving_decisionrecord d ON d.inquiry_id = i.id
WHERE i.project_id = %s AND i.received_at > %s AND d.model_id IS NOT NULL AND d.took_ms IS NOT NULL GROUP BY 1"""


def versions(project_id: int) -> list[dict[str, Any]]:
    """The newest versions, each with its figures beside those of the version that serves its encoder."""
    rows = list(
        ModelVersion.objects.filter(project_id=project_id).select_related("parent").order_by("-number")[:VERSIONS]
    )
    serving = {m.encoder_sha: m for m in ModelVersion.objects.filter(project_id=project_id, stage=Stage.PRODUCTION)}
    medians = _medians(project_id)
    return [_version(m, serving.get(m.encoder_sha), medians.get(m.pk)) for m in rows]


def _medians(project_id: int) -> dict[int, float]:
    with connection.cursor() as cursor:
        cursor.execute(_MEDIANS, [project_id, timezone.now() - timedelta(days=1)])
        return dict(cursor.fetchall())


def _version(m: ModelVersion, serving: ModelVersion | None, median: float | None) -> dict[str, Any]:
    share, beside = m.metrics.get("test_accuracy"), serving.metrics.get("test_accuracy") if serving else None
    gap = share["value"] - beside["value"] if isinstance(share, dict) and isinstance(beside, dict) else None
    return {
        "number": m.number, "kind": m.kind, "stage": m.stage, "parent": m.parent, "labels": m.lineage.get("labels"),
        "data": str(m.lineage.get("data", ""))[:8], "accuracy": _shares(share), "gap": None if gap is None or serving == m else 100 * gap,
        "ece": m.metrics.get("test_ece"), "classes": per_class(m.metrics), "gates": m.gates,
        "failed": sum(not g.get("passed") for g in m.gates), "size": size_of(m.manifest_sha), "median": median,
        "manifest": m.manifest_sha[:12], "encoder": m.encoder_sha[:8], "lineage": m.lineage, "created_at": m.created_at,
        "promoted_at": m.promoted_at, "may_try": m.stage in (Stage.STAGING, Stage.ARCHIVED) and serving is not None,
        "may_promote": m.stage in (Stage.STAGING, Stage.ARCHIVED), "serves": m.stage == Stage.PRODUCTION,
    }  # fmt: skip


def _shares(share: Any) -> list[float] | None:
    return [100 * share[k] for k in ("value", "low", "high")] if isinstance(share, dict) else None


def per_class(metrics: dict[str, Any]) -> list[tuple[str, float]]:
    """(category key, recall in percent), worst first, where the training measured it."""
    found = metrics.get("test_recall") or metrics.get("recall") or {}
    pairs = [(str(k), 100 * float(v)) for k, v in found.items()] if isinstance(found, dict) else []
    return sorted(pairs, key=lambda kv: kv[1])


def size_of(manifest_sha: str) -> float | None:
    """MB of a bundle as it lies on disk; None where it is not there."""
    path = registry.bundle_path(manifest_sha)
    try:
        return sum(f.stat().st_size for f in path.iterdir()) / 1e6
    except OSError:
        return None


@dataclass(frozen=True)
class Row:
    """One watched figure of a rollout, both arms side by side."""

    name: str
    production: str
    candidate: str
    customers: str
    harm: str
    e_value: float
    bar: str  # share of the way to the threshold on a log scale, as an SVG number

    @property
    def alarming(self) -> bool:
        return self.e_value > 1


def on_trial(project_id: int) -> list[dict[str, Any]]:
    """Rollouts that are under way, each with its steps, evidence and looks."""
    rows = Rollout.objects.filter(project_id=project_id, state__in=ACTIVE).select_related("candidate", "control")
    return [_rollout(r) for r in rows.prefetch_related("steps", "evidence").order_by("pk")]


def past(project_id: int) -> list[dict[str, Any]]:
    rows = (
        Rollout.objects.filter(project_id=project_id).exclude(state__in=ACTIVE).select_related("candidate", "control")
    )
    return [
        {"row": r, "words": rollout_words.reason(r.reason), "state": rollout_words.STATES[r.state],
         "tone": rollout_words.TONES[r.state], "percent": rollout_words.percent(int(r.plan[r.step]))}
        for r in rows.order_by("-ended_at")[:PAST]
    ]  # fmt: skip


def _rollout(r: Rollout) -> dict[str, Any]:
    known = {e.metric: e for e in r.evidence.all()}
    steps = {s.number: s for s in r.steps.all()}
    step = steps[r.step]
    looks = list(RolloutLook.objects.filter(rollout=r).order_by("-at")[:LOOKS])[::-1]
    differing, mirrored = rollout_evidence.shadow_disagreement(r.pk)
    return {
        "row": r, "state": rollout_words.STATES[r.state], "tone": rollout_words.TONES[r.state], "words": rollout_words.reason(r.reason),
        "steps": [_step(r, n, p, steps.get(n)) for n, p in enumerate(r.plan)], "step": step, "limits": r.limits_in_force,
        "rows": [_row(m, known.get(m.name), r.limits_in_force.alpha) for m in WATCHED], "threshold": round(1 / r.limits_in_force.alpha),
        "looks": looks, "chart": chart([x.e_value for x in looks], 1 / r.limits_in_force.alpha),
        "differing": differing, "mirrored": mirrored, "shadow": r.course.shadow, "last": r.course.last,
        "audited": int(Evidence.from_json(known["accuracy"].stored).n.min()) if "accuracy" in known else 0,
    }  # fmt: skip


def _step(r: Rollout, number: int, share: int, step: Any) -> dict[str, Any]:
    where = "now" if number == r.step else "done" if number < r.step else "ahead"
    return {"name": rollout_words.percent(share), "where": where, "row": step}


def _row(metric: Metric, stored: RolloutEvidence | None, alpha: float) -> Row:
    name = str(rollout_words.METRICS[metric.name])
    evidence = Evidence.from_json(stored.stored) if stored else None
    if evidence is None or evidence.n.min() < 1:
        return Row(name, "–", "–", "–", "–", 0.0, "0")
    value = float(e_value(metric, evidence))
    means = evidence.total / evidence.n
    n = f"{evidence.n[1]:,.0f} · {evidence.n[0]:,.0f}"
    return Row(
        name,
        _said(metric, means[1]),
        _said(metric, means[0]),
        n,
        _harm(metric, evidence, alpha),
        value,
        _way(value, alpha),
    )


def _said(metric: Metric, value: float) -> str:
    return f"{100 * value:.1f}\u00a0%" if metric.kind == "rate" else f"{value:+.0f}"


def _harm(metric: Metric, evidence: Evidence, alpha: float) -> str:
    """How much worse the candidate is, with an interval that holds at every look."""
    middle, low, high = interval(metric, evidence, alpha)
    if not math.isfinite(middle):
        return "–"
    scale = 100 if metric.kind == "rate" else 1
    return f"{scale * middle:+.1f} [{scale * low:+.1f}, {scale * high:+.1f}]"


def _way(value: float, alpha: float) -> str:
    return f"{100 * min(max(math.log(max(value, 1.0)) / math.log(1 / alpha), 0.0), 1.0):.1f}"


WIDE, HIGH = 600.0, 120.0


def chart(values: list[float], threshold: float) -> dict[str, Any] | None:
    """Points of the evidence over the looks, log scale from 0.01 to ten times the threshold; None before the second look."""
    if len(values) < 2:
        return None
    low, high = math.log(0.01), math.log(10 * threshold)

    def y(value: float) -> float:
        at = (math.log(min(max(value, 0.01), 10 * threshold)) - low) / (high - low)
        return round(HIGH * (1 - at), 1)

    across = WIDE / (len(values) - 1)
    return {
        "points": " ".join(f"{round(i * across, 1)},{y(v)}" for i, v in enumerate(values)),
        "threshold": str(y(threshold)), "even": str(y(1.0)), "last": str(y(values[-1])),
    }  # fmt: skip
