"""Use cases of rollouts: starting one, moving it by hand, and looking at its evidence, which moves it by itself.

A look computes first and then writes under the row's lock, and is thrown away where a person moved the rollout meanwhile.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from feedback import outbox
from feedback.problems import Problem
from serving import registry, rollout_evidence, students
from serving.artifacts import CorruptBundle
from serving.models import ModelVersion, Rollout, RolloutLook, RolloutSettings, RolloutStep, Stage
from serving.rollout import PLANS, Course, NotAllowed, Seen, outcome
from serving.rollout_evidence import Gathered
from serving.rollout_models import IN_PROGRESS
from serving.sequential import Step, Verdict, judge


def release(*, version_id: int) -> bool:
    """Bring a version that passed its gates into service as its project wants it; False where it now waits or is on trial.

    A stepwise project starts a rollout. Where one is under way already, the version waits in staging for a person.
    """
    version = ModelVersion.objects.get(pk=version_id)
    serving = registry.in_production(project_id=version.project_id, encoder_sha=version.encoder_sha)
    stepwise = RolloutSettings.of(version.project_id).mode == RolloutSettings.Mode.STEPWISE
    if not stepwise or serving is None or students.teacher_of(version.encoder_sha) is not None:
        registry.promote(version_id=version_id)
        return True
    if active(project_id=version.project_id, encoder_sha=version.encoder_sha) is None:
        start(version_id=version_id)
    return False


def active(*, project_id: int, encoder_sha: str) -> Rollout | None:
    return Rollout.objects.filter(IN_PROGRESS, project_id=project_id, encoder_sha=encoder_sha).first()


def start(*, version_id: int, kind: str = "stepwise", by: str = "") -> Rollout:
    """Try a version beside the one in production. 409 where it may not serve, nothing serves yet, or one is under way."""
    version = ModelVersion.objects.get(pk=version_id)
    control = _control_of(version)
    limits = RolloutSettings.of(version.project_id).limits
    try:
        with transaction.atomic():
            made = Rollout.objects.create(
                project_id=version.project_id, encoder_sha=version.encoder_sha, candidate=version, control=control,
                kind=kind, plan=list(PLANS[kind]), salt=secrets.token_hex(16), limits=asdict(limits), started_by=by[:80],
            )  # fmt: skip
            RolloutStep.objects.create(rollout=made, number=0, percent=made.course.percent, entered_at=made.created_at)
    except IntegrityError as error:
        raise Problem(
            409, "rollout-active", "Another rollout of this encoder's versions is under way: end it first."
        ) from error
    return made


def _control_of(version: ModelVersion) -> ModelVersion:
    """The version that serves; 409 where the other may not be tried against it."""
    if version.stage not in (Stage.STAGING, Stage.ARCHIVED):
        raise Problem(409, "not-a-candidate", f"Version {version.number} is {version.stage}: it cannot be rolled out.")
    if version.barred:
        raise Problem(409, "barred", f"Version {version.number} cannot serve any more: {version.barred}.")
    if students.teacher_of(version.encoder_sha) is not None:
        raise Problem(409, "fast-step", "The head of a distilled encoder follows its teacher's: promote it directly.")
    try:
        registry.open_bundle(version)
    except CorruptBundle as error:
        raise Problem(409, "corrupt-bundle", f"Version {version.number} cannot serve: {error}") from error
    serving = registry.in_production(project_id=version.project_id, encoder_sha=version.encoder_sha)
    if serving is None:
        raise Problem(409, "nothing-serves", "No version serves yet: promote this one instead of rolling it out.")
    return serving


def hold(*, rollout_id: int, by: str = "") -> Rollout:
    """Stay at this step until somebody resumes; harm still rolls back."""
    return _by_hand(rollout_id, Course.held, {"code": "hand", "what": "hold", "by": by})


def resume(*, rollout_id: int, by: str = "") -> Rollout:
    return _by_hand(rollout_id, Course.resumed, {"code": "hand", "what": "resume", "by": by})


def advance(*, rollout_id: int, by: str = "") -> Rollout:
    """Go to the next step without waiting for evidence; the last one promotes the candidate."""
    return _by_hand(rollout_id, Course.advanced, {"code": "hand", "what": "advance", "by": by})


def abort(*, rollout_id: int, by: str = "") -> Rollout:
    """End it: production answers everybody, and the candidate is back in staging."""
    return _by_hand(rollout_id, Course.aborted, {"code": "hand", "what": "abort", "by": by})


def _by_hand(rollout_id: int, move: Any, reason: dict[str, Any]) -> Rollout:
    with transaction.atomic():
        rollout = Rollout.objects.select_for_update().get(pk=rollout_id)
        try:
            course = move(rollout.course)
        except NotAllowed as error:
            raise Problem(409, "rollout-ended", str(error)) from error
        _move(rollout, course, reason, timezone.now())
    return rollout


def _move(rollout: Rollout, course: Course, reason: dict[str, Any], now: datetime) -> None:
    """Write the next course: the step that is left says why, and what the state means for the candidate is done."""
    before = rollout.course
    if course == before and reason == rollout.reason:
        return
    if course.step != before.step or course.state in ("rolled_back", "aborted"):
        rollout.steps.filter(number=before.step).update(left_at=now, reason=reason)
    rollout.step, rollout.state, rollout.reason = course.step, course.state, reason
    rollout.version += 1
    if course.state in ("completed", "rolled_back", "aborted"):
        rollout.ended_at = now
    rollout.save(update_fields=["step", "state", "reason", "version", "ended_at"])
    if course.step != before.step and course.state == "running":
        RolloutStep.objects.create(rollout=rollout, number=course.step, percent=course.percent, entered_at=now)
    if course.state == "completed":
        registry.promote(version_id=rollout.candidate_id)
    elif course.state == "rolled_back":
        _reject(rollout, reason)


def _reject(rollout: Rollout, reason: dict[str, Any]) -> None:
    """The candidate has shown harm: it cannot be promoted any more, and whoever listens is told."""
    candidate = ModelVersion.objects.select_for_update().get(pk=rollout.candidate_id)
    candidate.stage = Stage.REJECTED
    candidate.gates = [*candidate.gates, {"name": "rollout", "passed": False, "detail": _detail(reason)}]
    candidate.save(update_fields=["stage", "gates"])
    outbox.publish(kind="rollout.rolled_back", project_id=rollout.project_id, payload={"rollout": rollout.pk})


def _detail(reason: dict[str, Any]) -> str:
    if reason["code"] == "corrupt":
        return f"its bundle does not verify: {reason['detail']}"
    return f"worse than production in {reason['metric']} (always-valid p = {reason['p_value']:.2g})"


def look(*, rollout_id: int, now: datetime | None = None) -> str:
    """Look at the evidence and do what follows: rollback, advance, hold, or nothing where it is over.

    Errors and latency are looked at each time; everything else once per `look_minutes` of the project.
    """
    now = now or timezone.now()
    rollout = Rollout.objects.select_related("candidate").get(pk=rollout_id)
    if rollout.ended_at is not None:
        return "nothing"
    if (over := _overtaken(rollout)) is not None:
        return _write(rollout, over[0], over[1], now)
    period = timedelta(minutes=RolloutSettings.of(rollout.project_id).look_minutes)
    full = now - rollout.looked_at >= period
    gathered = rollout_evidence.gather(rollout, now=now, guards_only=not full)
    return _judged(rollout, gathered, full=full, now=now)


def _overtaken(rollout: Rollout) -> tuple[str, dict[str, Any]] | None:
    """What ends a rollout whatever its evidence says: another version serves, or the candidate's bundle is damaged."""
    serving = registry.in_production(project_id=rollout.project_id, encoder_sha=rollout.encoder_sha)
    if serving is None or serving.pk != rollout.control_id:
        return "abort", {"code": "overtaken", "version": serving.number if serving else None}
    try:
        registry.open_bundle(rollout.candidate)
    except CorruptBundle as error:
        return "rollback", {"code": "corrupt", "detail": str(error)}
    return None


def _judged(rollout: Rollout, gathered: list[Gathered], *, full: bool, now: datetime) -> str:
    course, limits = rollout.course, rollout.limits_in_force
    step = rollout.steps.get(number=rollout.step)
    seen = _seen(rollout, step, gathered, full)
    verdict = judge(
        [g.metric for g in gathered], {g.metric.name: g.evidence for g in gathered},
        step=Step(limits.minimum_per_arm, limits.maximum_looks), seen=seen.customers, looks=seen.looks, alpha=limits.alpha,
    )  # fmt: skip
    action, reason = outcome(course, limits, verdict, seen)
    if action != "rollback" and not full:
        action, reason = "wait", rollout.reason
    return _write(
        rollout,
        action,
        reason,
        now,
        (gathered, seen, verdict) if full or action == "rollback" else (gathered, None, None),
    )


def _seen(rollout: Rollout, step: RolloutStep, gathered: list[Gathered], full: bool) -> Seen:
    """What there is to judge by. Customers are counted by the decisions that they got (in the shadow: that were mirrored)."""
    by_name = {g.metric.name: g for g in gathered}
    audited = by_name["accuracy"].evidence.n.min()
    differing, mirrored = rollout_evidence.shadow_disagreement(rollout.pk) if rollout.course.shadow else (0, 0)
    customers = by_name["escalations"].customers if full else 0
    return Seen(step.customers + customers, step.looks + full, int(audited), differing, mirrored)


Found = tuple[list[Gathered], Seen | None, Verdict | None]


def _write(rollout: Rollout, action: str, reason: dict[str, Any], now: datetime, found: Found | None = None) -> str:
    """Store what a look found and make its move, unless the rollout was moved since the look began."""
    with transaction.atomic():
        locked = Rollout.objects.select_for_update().get(pk=rollout.pk)
        if locked.version != rollout.version or locked.ended_at is not None:
            return "nothing"
        if found is not None:
            _keep(locked, found, action, now)
        course = {
            "rollback": Course.rolled_back, "abort": Course.aborted, "advance": Course.advanced,
        }.get(action, lambda c: c)(locked.course)  # fmt: skip
        _move(locked, course, reason, now)
    return action


def _keep(rollout: Rollout, found: Found, action: str, now: datetime) -> None:
    gathered, seen, verdict = found
    rollout_evidence.keep(rollout, gathered)
    if seen is None or verdict is None:
        return
    rollout.steps.filter(number=rollout.step).update(customers=seen.customers, looks=seen.looks)
    RolloutLook.objects.create(
        rollout=rollout, at=now, step=rollout.step, action=action, e_value=verdict.e_value, parts=verdict.parts
    )
    Rollout.objects.filter(pk=rollout.pk).update(looked_at=now)
