"""Drift is a lead, performance is the verdict: audited accuracy, its decay, and whether to retrain (DESIGN §4)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from django.utils import timezone

from feedback import jobs
from feedback.models import Job, JobState, Project
from learning import audits
from learning.audits import Answer
from learning.core.audit import Estimate
from learning.core.decay import Audit, Forecast, forecast
from learning.core.drift.verdict import Policy, retraining
from learning.models import DriftReport, DriftSettings, DriftState, RetrainingVerdict, TrainingRun
from learning.monitoring import monitors
from serving.models import ModelVersion, Stage

SEEN_BEFORE = 200  # critical windows looked back at


@dataclass(frozen=True)
class Performance:
    """Audited accuracy of the versions in production: now, just after they went live, and day by day."""

    now: Estimate
    before: Estimate
    drawn: int
    days: tuple[Audit, ...]
    since: date | None


def performance(*, project_id: int) -> Performance:
    """A version is judged by its own answers: the first `audited` of them are what it began with, the latest what it is."""
    enough = DriftSettings.of(project_id).audited
    live = ModelVersion.objects.filter(project_id=project_id, stage=Stage.PRODUCTION)
    promoted = dict(live.values_list("pk", "promoted_at"))
    since = min((at for at in promoted.values() if at is not None), default=None)
    answers = audits.audited_answers(project_id=project_id, since=since)
    own = [a for a in answers if (a.model in promoted if promoted else a.model is None)]
    before = own[:enough] if len(own) >= 2 * enough else []
    now = own[-max(enough, len(own) // 2) :]
    return Performance(
        audits.accuracy(now), audits.accuracy(before), audits.drawn_since(project_id=project_id, since=since),
        _by_day(own), since.date() if since else None,
    )  # fmt: skip


def _by_day(answers: Sequence[Answer]) -> tuple[Audit, ...]:
    """Audits day by day since the first answer, at the sizes that their weights are worth."""
    groups: dict[int, list[Answer]] = defaultdict(list)
    for a in answers:
        groups[(a.at.date() - answers[0].at.date()).days].append(a)
    found = [(day, audits.accuracy(group)) for day, group in sorted(groups.items())]
    return tuple(Audit(float(day), e.value * e.effective_n, e.effective_n) for day, e in found if e.effective_n > 0)


def decay_of(known: Performance, threshold: float) -> Forecast | None:
    """The decay curve and the expected day; None before three days of audits."""
    if len(known.days) < 3:
        return None
    return forecast(known.days, threshold, rng=np.random.default_rng(len(known.days)))


def critical_in_a_row(*, project_id: int) -> int:
    """Critical checks since the last one that was not, over windows that share no text, and since the last training.

    A language whose checks are steady does not answer for another one.
    """
    trained = last_training(project_id=project_id)
    reports = DriftReport.objects.filter(project_id=project_id)
    if trained is not None and trained.finished_at is not None:
        reports = reports.filter(created_at__gt=trained.finished_at)
    rows = reports.order_by("-created_at", "-pk").values_list("encoder_sha", "state", "begins", "ends")[:SEEN_BEFORE]
    by_encoder: dict[str, list[Any]] = defaultdict(list)
    for sha, state, begins, ends in rows:
        by_encoder[sha].append((state, begins, ends))
    return max((_run_of(found) for found in by_encoder.values()), default=0)


def _run_of(newest_first: Sequence[tuple[str, Any, Any]]) -> int:
    count, begun = 0, None
    for state, begins, ends in newest_first:
        if state != DriftState.CRITICAL:
            break
        if begun is None or ends < begun:
            count, begun = count + 1, begins
    return count


def last_training(*, project_id: int) -> Job | None:
    """The last training that was carried through."""
    ran = TrainingRun.objects.filter(project_id=project_id, finished_at__isnull=False).values("job_id")
    return Job.objects.filter(pk__in=ran, state=JobState.DONE).order_by("-finished_at").first()


def judge(*, project_id: int) -> RetrainingVerdict:
    """The verdict as a row that is not stored yet."""
    told, known = DriftSettings.of(project_id), performance(project_id=project_id)
    trained = last_training(project_id=project_id)
    days = (timezone.now() - trained.finished_at) / timedelta(days=1) if trained and trained.finished_at else math.inf
    critical = critical_in_a_row(project_id=project_id)
    policy = Policy(told.least_accuracy, told.most_drop, told.audited, told.critical_checks, told.cool_down_days)
    before = known.before if known.before.n else None
    said, wanted = (
        retraining(known.now, before, critical_in_a_row=critical, days_since_last=d, policy=policy)
        for d in (days, math.inf)
    )
    ahead = decay_of(known, told.least_accuracy)
    return RetrainingVerdict(
        project_id=project_id, retrain=said.retrain, reason=said.reason, critical_in_a_row=critical,
        wanted=wanted.reason if wanted.retrain else "", days_since_training=None if math.isinf(days) else days,
        now=audits.as_json(known.now, drawn=known.drawn), before=audits.as_json(known.before),
        decay=_decay_json(known, ahead), **_dates(known, ahead), monitors=monitors(project_id=project_id),
    )  # fmt: skip


def _decay_json(known: Performance, ahead: Forecast | None) -> dict[str, Any] | None:
    if ahead is None or known.since is None:
        return None
    points = [{"day": a.day, "correct": a.correct, "n": a.n} for a in known.days]
    curve = ahead.decay
    return {
        "start": curve.start, "floor": curve.floor, "rate": curve.rate, "since": known.since.isoformat(),
        "reached": ahead.reached, "points": points,
    }  # fmt: skip


def _dates(known: Performance, ahead: Forecast | None) -> dict[str, date | None]:
    def on(day: float | None) -> date | None:
        return None if day is None or known.since is None else known.since + timedelta(days=math.ceil(day))

    if ahead is None:
        return {}
    return {"expected_on": on(ahead.day), "earliest_on": on(ahead.earliest), "latest_on": on(ahead.latest)}


def act(row: RetrainingVerdict) -> RetrainingVerdict:
    """Store a verdict and, where it says so, ask for a training with its reason; in the caller's transaction.

    Verdicts of one project act one after the other, so that two checks at once ask for one training.
    """
    Project.objects.select_for_update(no_key=True).get(pk=row.project_id)
    if row.retrain and _trained_lately(row.project_id):
        row.retrain, row.reason = False, "cooling down"
    if row.retrain:
        row.training = _training(row)
    row.save()
    return row


def _trained_lately(project_id: int) -> bool:
    """Whether a training has ended within the cool-down, perhaps since the verdict was computed."""
    cool_down = timedelta(days=DriftSettings.of(project_id).cool_down_days)
    trained = last_training(project_id=project_id)
    return bool(trained and trained.finished_at and trained.finished_at > timezone.now() - cool_down)


def _training(row: RetrainingVerdict) -> Job:
    """The training that waits or runs already, or a new one."""
    found = (
        Job.objects.filter(project_id=row.project_id, kind="train", state__in=jobs.UNFINISHED).order_by("pk").first()
    )
    params = {"reason": row.reason}
    if found is None:
        return jobs.enqueue(kind="train", project_id=row.project_id, params=params)
    # One that waits for labels would find that it need not learn; from now on it has a reason of its own.
    Job.objects.filter(pk=found.pk).exclude(state=JobState.RUNNING).update(params=params)
    return found
