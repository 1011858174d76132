"""Why a version was trained, in words: what the trigger stored as a code, and the check that a verdict came of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from feedback.models import Project
from learning import drift_words
from learning.models import DriftReport, RetrainingVerdict, TrainingRun

WHY: dict[str, Any] = {
    **drift_words.REASONS,
    "hand": gettext_lazy("asked for by hand"),
    "labels": gettext_lazy("enough new labels"),
    "nightly": gettext_lazy("the nightly training"),
    "taxonomy": gettext_lazy("the categories had changed"),
    "erasure": gettext_lazy("a customer’s data was erased"),
}


@dataclass(frozen=True)
class Origin:
    """``report`` is the drift report of the check whose verdict asked for the training, if one did."""

    words: str
    report: int | None


def origin(run: TrainingRun) -> Origin:
    """Why this run was made. A run that a verdict joined while it was under way keeps its own reason."""
    verdict = RetrainingVerdict.objects.filter(training=run.job_id).order_by("pk").first()
    words = str(WHY.get(run.reason, run.reason or WHY["hand"]))
    return Origin(words, _report_of(verdict))


def _report_of(verdict: RetrainingVerdict | None) -> int | None:
    """The critical report of that check if there is one: with several languages, one of them may have been steady."""
    if verdict is None or verdict.job_id is None:
        return None
    reports = DriftReport.objects.filter(job=verdict.job_id).order_by("p_value", "pk")
    return reports.values_list("pk", flat=True).first()


def last_asked(project: Project) -> dict[str, Any] | None:
    """The newest training that a verdict asked for: when, why, and which versions came of it."""
    verdicts = RetrainingVerdict.objects.filter(project=project, training__isnull=False).select_related("training")
    verdict = verdicts.order_by("-created_at", "-pk").first()
    if verdict is None or verdict.training is None:
        return None
    runs = TrainingRun.objects.filter(job=verdict.training, model__isnull=False).order_by("pk")
    return {
        "at": verdict.created_at, "training": verdict.training_id, "why": WHY.get(verdict.reason, verdict.reason),
        "versions": list(runs.values_list("model__number", flat=True)), "state": job_words(verdict.training.state),
        "report": _report_of(verdict),
    }  # fmt: skip


def job_words(state: str) -> str:
    return {
        "queued": _("queued"), "running": _("running"), "done": _("done"), "failed": _("failed, will be tried again"),
        "cancelled": _("cancelled"), "dead": _("given up"),
    }.get(state, state)  # fmt: skip
