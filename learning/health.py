"""What the loop-health page says: figures of `selectors`, in words, in the reader's language."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from feedback.models import Job, JobState, Project
from labeling import selectors as labeling_selectors
from labeling.access import AGENTS, Visitor
from labeling.spans import duration, since
from learning import health_words, selectors, trends
from learning.run_words import job_words
from serving.models import LiveState, ModelVersion

# Fewer shared items than this leave Cohen's κ too uncertain to act on (the policy table starts here).
ENOUGH_SHARED = 50
UNFINISHED = (JobState.RUNNING, JobState.QUEUED, JobState.FAILED)


def figures(who: Visitor) -> dict[str, Any]:
    """Context of the figures' template."""
    project = who.project
    pk, waiting = project.pk, selectors.labels_since_training(project=project)
    kappa, shared = labeling_selectors.mean_kappa(project_id=pk)
    jobs = selectors.jobs(project_id=pk)
    sentence, detail = headline(project, waiting)
    return {
        "project": project, "sentence": sentence, "detail": detail, "stages": _stages(who, waiting, jobs),
        "accuracy": selectors.audited_accuracy(project_id=pk), "unanswered": selectors.unanswered_audits(project_id=pk),
        "enough_audited": selectors.ENOUGH_AUDITED, "auto": selectors.answered_by_model(project_id=pk),
        "late": selectors.answered_late(project_id=pk),
        "kappa": kappa, "shared": shared, "enough_shared": ENOUGH_SHARED,
        "frozen": [_frozen(state) for state in selectors.frozen_heads(project_id=pk)],
        "maturity": health_words.maturity(selectors.maturity_of(project_id=pk)),
    }  # fmt: skip


def work(project: Project) -> dict[str, Any]:
    """Context of the jobs and the versions."""
    jobs = selectors.jobs(project_id=project.pk)
    return {"project": project, "models": _versions(project.pk), "jobs": [_job(j) for j in jobs]}


def trends_of(project: Project) -> dict[str, Any]:
    """Context of the charts below the figures."""
    return {"charts": [draw(project) for draw in trends.BY_NAME.values()], "kinds": trends.FILES}


def headline(project: Project, waiting: selectors.Waiting) -> tuple[str, str]:
    """One sentence first, and one that explains it."""
    if (way := selectors.journey(project_id=project.pk)) is not None:
        return _fastest_way(way)
    if selectors.live_models(project_id=project.pk):
        return (
            _("A model is live. No label from the queue has reached it yet."),
            _("It learned from labels that were imported, or from the categories alone."),
        )
    missing = max(project.retrain_after_labels - waiting.count, 0)
    starts = ngettext(
        "The first training starts after %(n)s more label.", "The first training starts after %(n)s more labels.", missing
    )  # fmt: skip
    return (
        _("No model has been trained yet: answers come from the categories' names, descriptions and examples."),
        starts % {"n": missing},
    )


def _fastest_way(way: selectors.Journey) -> tuple[str, str]:
    steps = {
        "labeling": _("labeling"),
        "waiting": _("waiting for the next training"),
        "training": _("training and gates"),
    }
    first = _("Feedback to live model: %(time)s. Slowest step: %(step)s.")
    labels = ngettext(
        "Median of the %(n)s label that the newest version was the first to learn:",
        "Median of the %(n)s labels that the newest version was the first to learn:",
        way.labels,
    )
    parts = _("labeling %(a)s, waiting for a training %(b)s, training and gates %(c)s.")
    values = {"a": duration(way.labeling), "b": duration(way.waiting), "c": duration(way.training)}
    return (
        first % {"time": duration(way.total), "step": steps[way.slowest]},
        f"{labels % {'n': way.labels}} {parts % values}",
    )


def _stages(who: Visitor, waiting: selectors.Waiting, jobs: list[Job]) -> list[dict[str, Any]]:
    """The loop as a strip: each stage with its count, what has waited longest, and where to go."""
    pk = who.project.pk
    now, before = selectors.arrivals(project_id=pk)
    tasks, disputes = selectors.open_tasks(project_id=pk), selectors.disputed_tasks(project_id=pk)
    cases = selectors.open_cases(project_id=pk)
    return [
        _stage(_("Inquiries, 24 h"), now, _trend(now, before)),
        _stage(_("To be labeled"), tasks.count, since(tasks.since), _link("desk", who, "annotator")),
        _stage(_("Disputed"), disputes.count, since(disputes.since), _link("adjudicate", who, "expert")),
        _stage(_("Escalations"), cases.count, since(cases.since), _link("cases", who, *AGENTS)),
        _stage(_("New labels"), f"{waiting.count} / {who.project.retrain_after_labels}", since(waiting.since)),
        _training(jobs),
        _live(pk),
    ]


def _training(jobs: list[Job]) -> dict[str, Any]:
    job = next((j for j in jobs if j.kind == "train" and j.state in UNFINISHED), None)
    if job is None:
        return _stage(_("Training"), "–", _("not running"), "#jobs")
    return _stage(_("Training"), f"{100 * job.progress:.0f}\u00a0%", job.stage or job_words(job.state), "#jobs")


def _live(project_id: int) -> dict[str, Any]:
    versions = selectors.live_models(project_id=project_id)
    if not versions:
        return _stage(_("Live"), "–", _("no version yet"), "#models")
    return _stage(_("Live"), ", ".join(f"v{m.number}" for m in versions), since(versions[0].promoted_at), "#models")


def _stage(name: str, count: Any, note: str, url: str | None = None) -> dict[str, Any]:
    return {"name": name, "count": count, "note": note, "url": url}


def _link(name: str, who: Visitor, *roles: str) -> str | None:
    return reverse(name, args=[who.project.slug]) if who.roles & set(roles) else None


def _trend(now: int, before: int) -> str:
    if before == 0:
        return _("none the day before") if now else _("none yet")
    return _("%(change)s %% against the day before") % {"change": f"{round(100 * (now - before) / before):+d}"}


def _frozen(state: LiveState) -> dict[str, Any]:
    """A live head that its guard set has stopped: what happened, and what a lead can do."""
    return {"number": state.model.number, "delta": state.number, "at": state.frozen_at, "reason": state.frozen}


def _versions(project_id: int) -> list[dict[str, Any]]:
    states = selectors.live_states(project_id=project_id)
    return [_version(m, states.get(m.pk)) for m in selectors.models(project_id=project_id)]


def _version(m: ModelVersion, live: LiveState | None) -> dict[str, Any]:
    """A row of the table of versions, from whatever its training stored."""
    words = {
        "staging": _("staged"),
        "production": _("live"),
        "archived": _("replaced"),
        "rejected": _("stopped by a gate"),
    }
    share = m.metrics.get("test_accuracy")
    accuracy = [round(100 * share[k], 1) for k in ("value", "low", "high")] if isinstance(share, dict) else None
    return {
        "number": m.number, "kind": m.kind, "stage": m.stage, "words": words.get(m.stage, m.stage),
        "tone": {"production": "model", "rejected": "bad"}.get(m.stage, ""), "parent": m.parent, "accuracy": accuracy,
        "ece": m.metrics.get("test_ece"), "labels": m.lineage.get("labels"), "data": str(m.lineage.get("data", ""))[:8],
        "live_labels": live.changes if live and live.number else 0, "gates": m.gates,
        "failed": sum(not g.get("passed") for g in m.gates), "created_at": m.created_at,
    }  # fmt: skip


def _job(j: Job) -> dict[str, Any]:
    tone = {"running": "model", "done": "ok", "failed": "warn", "dead": "bad"}.get(j.state, "")
    return {
        "pk": j.pk, "name": _job_name(j.kind), "words": job_words(j.state), "tone": tone, "attempt": j.attempt, "stage": j.stage,
        "progress": 1.0 if j.state == JobState.DONE else j.progress, "errors": j.errors, "created_at": j.created_at,
    }  # fmt: skip


def _job_name(kind: str) -> str:
    """What a job does, in words; one that is not known here keeps the name in the code."""
    return {
        "train": _("Training"), "rescore": _("Scores after new weights"), "erase": _("Erasure of a customer"),
        "train_sentiment": _("Training of the sentiment head"), "read_comments": _("Sentiment of comments"),
        "learn_replies": _("Learning of preferred replies"), "topics": _("Search for topics"), "split_topic": _("Split of a topic"),
        "labeling.close_batch": _("Agreement of a batch"), "labeling.consensus": _("Consensus of annotators"),
        "import_labels": _("Import of labels"), "import_inquiries": _("Import of inquiries"),
        "export_labels": _("Export of labels"),
        "drift": _("Drift check"), "guard": _("Loop guard"), "distill": _("Distillation of a student"),
        "look_for_students": _("Look for a student"), "select": _("Selection from the whole queue"),
        "select_part": _("Selection: a look at a part of the queue"), "select_pick": _("Selection: the picks"),
    }.get(kind, kind)  # fmt: skip
