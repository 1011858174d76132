"""Trying a reply policy on a share of customers before everybody gets it.

A project whose versions come into service step by step tries its reply policies so too: 10 % of the customers, then half of
them, then all. A customer keeps their arm (serving/rollout.py's place in [0, 1)). At each look the customers of both arms are
counted once and compared by the always-valid tests that model rollouts use (serving/sequential.py): thumbs down, and
escalations after a reply (how often the policy itself asks a person is bounded by its gate). Harm ends the trial at once;
enough customers without it bring the next step.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from datetime import datetime
from typing import Any

from celery import shared_task
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from feedback.problems import Problem, not_found
from serving import policies
from serving.models import PolicyStage, PolicyTrial, PolicyVersion, RolloutSettings
from serving.rollout import Course
from serving.rollout_evidence import SETTLED
from serving.sequential import Evidence, Metric, Step, Tally, blank, judge, observe

log = logging.getLogger(__name__)
PLAN = (10, 50, 100)  # percent of customers; everybody is the promotion
WATCHED = (
    Metric("thumbs down", "rate", "higher", margin=0.05, weight=2, baseline=0.2),
    Metric("escalations", "rate", "higher", margin=0.03, baseline=0.1),
)
ACTIVE = ("running",)

# Per arm and customer the mean of each figure over what they were shown since the last look.
_TALLIES = """
WITH rows AS (
    SELECT s.policy_id = %(candidate)s AS treated, coalesce(nullif(i.customer, ''), i.id::text) AS unit,
        EXISTS (SELECT FROM feedback_event v WHERE v.inquiry_id = i.id AND v.kind = 'thumbs' AND v.weight = 1 AND v.value < 0)::int AS down,
        (s.reply_id IS NOT NULL AND EXISTS (SELECT FROM labeling_escalation e WHERE e.inquiry_id = i.id))::int AS escalated
    FROM serving_replyshown s JOIN feedback_inquiry i ON i.id = s.inquiry_id
    WHERE s.policy_id IN (%(candidate)s, %(control)s) AND s.shown_at > %(since)s AND s.shown_at <= %(until)s
), units AS (SELECT treated, unit, avg(down) AS down, avg(escalated) AS escalated FROM rows GROUP BY 1, 2)
SELECT treated, count(*), sum(down)::float8, sum(escalated)::float8 FROM units GROUP BY 1
"""


def release(*, version_id: int) -> bool:
    """Bring a version that passed its gates into service as its project wants it; False where it is on trial or waits."""
    version = PolicyVersion.objects.get(pk=version_id)
    serving = policies.in_production(project_id=version.project_id, encoder_sha=version.encoder_sha)
    if serving is None or RolloutSettings.of(version.project_id).mode != RolloutSettings.Mode.STEPWISE:
        policies.promote(version_id=version_id)
        return True
    if not _active(version).exists():
        start(version_id=version_id)
    return False


def start(*, version_id: int) -> PolicyTrial:
    """Try a version beside the one that chooses. 409 where none does, the version may not serve, or a trial is under way."""
    version = PolicyVersion.objects.get(pk=version_id)
    serving = policies.in_production(project_id=version.project_id, encoder_sha=version.encoder_sha)
    if serving is None:
        raise Problem(409, "nothing-to-compare-with", "No policy chooses here yet: promote this one.")
    if version.stage not in (PolicyStage.STAGING, PolicyStage.ARCHIVED):
        raise Problem(409, "not-to-be-tried", f"Policy p{version.number} is {version.stage}: it cannot be tried.")
    try:
        with transaction.atomic():
            return PolicyTrial.objects.create(
                project_id=version.project_id, encoder_sha=version.encoder_sha, candidate=version, control=serving,
                plan=list(PLAN), salt=secrets.token_hex(16),
            )  # fmt: skip
    except IntegrityError as error:
        raise Problem(409, "trial-active", "Another policy is on trial here: end that one first.") from error


def abort(*, project_id: int, trial_id: int, by: str = "") -> PolicyTrial:
    """A person ends a trial; what chose before goes on for everybody."""
    with transaction.atomic():
        trial = PolicyTrial.objects.select_for_update().filter(pk=trial_id, project_id=project_id).first()
        if trial is None:
            raise not_found("trial")
        if trial.state not in ACTIVE:
            raise Problem(409, "not-running", f"The trial is {trial.state}.")
        _move(trial, replace(trial.course, state="aborted"), {"code": "by hand", "by": by[:80]}, timezone.now())
    return trial


def look(*, trial_id: int, now: datetime | None = None) -> str:
    """Count what has come since the last look and act on it: "advance", "rollback", "hold", "abort" or "over"."""
    now = now or timezone.now()
    with transaction.atomic():
        trial = PolicyTrial.objects.select_for_update().select_related("candidate", "control").get(pk=trial_id)
        if trial.state not in ACTIVE:
            return "over"
        if trial.control.stage != PolicyStage.PRODUCTION or trial.candidate.stage == PolicyStage.REJECTED:
            _move(trial, replace(trial.course, state="aborted"), {"code": "overtaken"}, now)
            return "abort"
        return _judged(trial, now)


def _judged(trial: PolicyTrial, now: datetime) -> str:
    settings = RolloutSettings.of(trial.project_id)
    until = now - SETTLED
    evidence = {m.name: Evidence.from_json(trial.evidence[m.name]) if trial.evidence else blank() for m in WATCHED}
    treated, control = _tallies(trial, until)
    if treated[0] and control[0]:
        for n, metric in enumerate(WATCHED, 1):
            arms = Tally(treated[0], treated[n]), Tally(control[0], control[n])
            evidence[metric.name] = observe(metric, evidence[metric.name], *arms)
        trial.evidence = {name: e.as_json() for name, e in evidence.items()}
        trial.looked_until, trial.looks = until, trial.looks + 1
        trial.customers += int(min(treated[0], control[0]))
    limits = settings.limits
    step = Step(limits.minimum_per_arm, limits.maximum_looks)
    verdict = judge(WATCHED, evidence, step=step, seen=trial.customers, looks=trial.looks, alpha=limits.alpha)
    reason = {
        "code": verdict.reason, "e": round(verdict.e_value, 4), "blame": verdict.blame, "customers": trial.customers,
        "figures": {m.name: _rates(evidence[m.name]) for m in WATCHED},
    }  # fmt: skip
    if verdict.action == "rollback":
        _move(trial, trial.course.rolled_back(), reason, now)
    elif verdict.action == "advance":
        _move(trial, trial.course.advanced(), reason, now)
    else:
        trial.reason = reason
        trial.save(update_fields=["evidence", "looked_until", "looks", "customers", "reason"])
    return verdict.action


def _move(trial: PolicyTrial, course: Course, reason: dict[str, Any], now: datetime) -> None:
    """Write a step with what brought it about; the last one promotes, harm rejects. In the caller's transaction."""
    trial.step, trial.state, trial.reason = course.step, course.state, reason
    trial.history = [
        *trial.history,
        {"at": now.isoformat(), "percent": course.percent, "state": course.state, **reason},
    ]
    trial.customers = trial.looks = 0
    if course.state not in ACTIVE:
        trial.ended_at = now
    trial.save()
    if course.state == "completed":
        policies.promote(version_id=trial.candidate_id)
    elif course.state == "rolled_back":
        PolicyVersion.objects.filter(pk=trial.candidate_id).update(
            stage=PolicyStage.REJECTED, gates=[*trial.candidate.gates, _as_gate(reason)]
        )


def _as_gate(reason: dict[str, Any]) -> dict[str, Any]:
    detail = f"rolled back at {reason['customers']} customers a side: {reason['blame']} rose (e-value {reason['e']})"
    return {"name": "trial", "passed": False, "value": reason["e"], "threshold": 20.0, "detail": detail}


def _tallies(trial: PolicyTrial, until: datetime) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(customers, thumbs down, escalations) of either arm since the last look."""
    given: dict[str, Any] = {
        "candidate": trial.candidate_id, "control": trial.control_id, "until": until,
        "since": trial.looked_until or trial.started_at,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_TALLIES, given)
        arms = {row[0]: tuple(float(v or 0) for v in row[1:]) for row in cursor.fetchall()}
    nothing = (0.0,) * (len(WATCHED) + 1)
    return arms.get(True, nothing), arms.get(False, nothing)


def _rates(evidence: Evidence) -> dict[str, float | None]:
    rates = [float(t / n) if n else None for t, n in zip(evidence.total, evidence.n, strict=True)]
    return {"candidate": rates[0], "control": rates[1]}


def _active(version: PolicyVersion) -> Any:
    return PolicyTrial.objects.filter(project_id=version.project_id, encoder_sha=version.encoder_sha, state__in=ACTIVE)


@shared_task(name="serving.look_at_policy_trials")
def look_at_trials() -> int:
    """Look at every trial that is due; one that fails does not keep the others. Returns how many were looked at."""
    looked, now = 0, timezone.now()
    for trial in PolicyTrial.objects.filter(state__in=ACTIVE):
        minutes = RolloutSettings.of(trial.project_id).look_minutes
        if (now - (trial.looked_until or trial.started_at)).total_seconds() < 60 * minutes:
            continue
        try:
            look(trial_id=trial.pk, now=now)
            looked += 1
        except Exception:
            log.exception("the trial %s could not be looked at", trial.pk)
    return looked
