"""The jobs behind drift checks and the loop guard: computed first, then written in one fenced transaction each."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from feedback import jobs, outbox
from learning import drifting, guarding, verdicts
from learning.datasets import collect, encoders_with_labels
from learning.drift_evidence import encoders_in_use
from learning.models import DriftReport, GuardReport, RetrainingVerdict, Trigger
from serving.embeddings import embed_missing


def check_project(running: jobs.Running) -> dict[str, Any]:
    """Handler of `drift` jobs. An attempt that resumes goes on with the variants that have no report yet."""
    project_id, job = running.job.project_id, running.job
    running.report(0.02, "reading new texts")
    embed_missing(project_id=project_id)
    shas = encoders_in_use(project_id=project_id)
    for n, sha in enumerate(shas):
        if not DriftReport.objects.filter(job=job, encoder_sha=sha).exists():
            _check_variant(running, sha, 0.05 + 0.7 * n / len(shas), 0.7 / len(shas))
    running.report(0.8, "judging")
    verdict = _judged(running)
    running.report(0.9, "measuring the loop")
    guard = guard_project(running)
    reports = DriftReport.objects.filter(job=job).order_by("pk")
    return {
        "reports": [{"report": r.pk, "state": r.state, "kinds": r.kinds} for r in reports],
        "verdict": verdict.reason, "retrain": verdict.retrain, "guard": guard,
    }  # fmt: skip


def _check_variant(running: jobs.Running, sha: str, begun: float, span: float) -> None:
    def progress(share: float, stage: str) -> None:
        running.report(begun + span * share, stage)

    checked = drifting.check(project_id=running.job.project_id, encoder_sha=sha, progress=progress)
    if checked is not None:
        with transaction.atomic():
            running.hold()
            drifting.report(checked, trigger=running.job.params.get("trigger", Trigger.HAND), job=running.job)


def _judged(running: jobs.Running) -> RetrainingVerdict:
    if (known := RetrainingVerdict.objects.filter(job=running.job).first()) is not None:
        return known
    row = verdicts.judge(project_id=running.job.project_id)
    row.job = running.job
    with transaction.atomic():
        running.hold()
        return verdicts.act(row)


def guard_project(running: jobs.Running) -> list[int]:
    """Handler of `guard` jobs: measure the loop of each encoder variant with labels; ids of the reports."""
    project_id = running.job.project_id
    for sha in encoders_with_labels(project_id=project_id):
        dataset = collect(project_id=project_id, encoder_sha=sha)
        found = guarding.measured(guarding.sources(dataset.rows), dataset.weights(), project_id=project_id)
        record_guard(found, running, sha)
    return list(GuardReport.objects.filter(job=running.job).order_by("pk").values_list("pk", flat=True))


def record_guard(found: guarding.Guard | None, running: jobs.Running, sha: str, ceiling: float | None = None) -> None:
    """Store a measurement once per job and variant, and tell webhooks where an alarm is new."""
    known = GuardReport.objects.filter(project_id=running.job.project_id, encoder_sha=sha).order_by("-pk")
    if found is None or known.filter(job=running.job).exists():
        return
    with transaction.atomic():
        running.hold()
        before = known.first()
        row = guarding.report(
            found, project_id=running.job.project_id, encoder_sha=sha, job=running.job, ceiling=ceiling
        )
        if set(row.alarms) - set(before.alarms if before else []):
            outbox.publish(kind="guard.alarm", project_id=row.project_id, payload={"report": row.pk})
