"""Rollouts over HTTP: what is on trial and what its evidence says, moving it by hand, and planning an A/B test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.access import managed_project, name_of, readable_project
from feedback.http import decode_parsed
from feedback.problems import Problem, invalid, not_found
from serving import rollout_evidence, rollouts, sample_size
from serving.models import ModelVersion, Rollout, RolloutEvidence
from serving.rollout import PLANS
from serving.sequential import Evidence

SHOWN = 50
MANAGE = "models:admin"


class RolloutIn(msgspec.Struct, forbid_unknown_fields=True):
    """How to try a version: step by step, or on half of the customers at once."""

    kind: str = "stepwise"


class Rollouts(APIView):
    @extend_schema(responses={200: dict}, operation_id="rollouts")
    def get(self, request: Request) -> Response:
        """A project's rollouts, newest first: steps, reasons, and the evidence of each watched figure per arm."""
        project = readable_project(request, scope="labels:read")
        found = Rollout.objects.filter(project=project).select_related("candidate", "control").order_by("-created_at")
        shown = list(found.prefetch_related("steps", "evidence")[:SHOWN])
        return Response({"rollouts": [payload(r) for r in shown]})


class RolloutStart(APIView):
    @extend_schema(request={"application/json": dict}, responses={201: dict}, operation_id="rollout_start")
    def post(self, request: Request, number: int) -> Response:
        """Try a version beside the one in production: `{"kind": "stepwise"}` (the default) or `"ab"`."""
        project = managed_project(request, scope=MANAGE)
        given = decode_parsed(request.data, RolloutIn)
        if given.kind not in PLANS:
            raise invalid("kind", f"There is no rollout {given.kind!r}; known are {', '.join(PLANS)}.")
        version = ModelVersion.objects.filter(project=project, number=number).first()
        if version is None:
            raise not_found("model")
        made = rollouts.start(version_id=version.pk, kind=given.kind, by=name_of(request))
        return Response(payload(made), status=201)


MOVES: dict[str, Callable[..., Rollout]] = {
    "hold": rollouts.hold, "resume": rollouts.resume, "advance": rollouts.advance, "abort": rollouts.abort,
}  # fmt: skip


class RolloutMove(APIView):
    """Move a rollout by hand."""

    move = "hold"

    @extend_schema(request=None, responses={200: dict})
    def post(self, request: Request, rollout_id: int) -> Response:
        """Hold (harm still rolls back), resume, go to the next step without waiting, or abort."""
        project = managed_project(request, scope=MANAGE)
        if not Rollout.objects.filter(pk=rollout_id, project=project).exists():
            raise not_found("rollout")
        return Response(payload(MOVES[self.move](rollout_id=rollout_id, by=name_of(request))))


def payload(rollout: Rollout) -> dict[str, Any]:
    course = rollout.course
    return {
        "id": rollout.pk, "kind": rollout.kind, "state": rollout.state, "encoder": rollout.encoder_sha,
        "candidate": rollout.candidate.number, "control": rollout.control.number, "percent": course.percent,
        "plan": rollout.plan, "reason": rollout.reason, "limits": rollout.limits, "started_by": rollout.started_by,
        "steps": [_step(s) for s in sorted(rollout.steps.all(), key=lambda s: s.number)],
        "evidence": {e.metric: _evidence(e) for e in rollout.evidence.all()},
        "created_at": rollout.created_at, "looked_at": rollout.looked_at, "ended_at": rollout.ended_at,
    }  # fmt: skip


def _step(s: Any) -> dict[str, Any]:
    return {
        "percent": s.percent, "customers": s.customers, "looks": s.looks, "entered_at": s.entered_at, "left_at": s.left_at,
        "reason": s.reason,
    }  # fmt: skip


def _evidence(row: RolloutEvidence) -> dict[str, Any]:
    arms = rollout_evidence.arms_of(Evidence.from_json(row.stored))
    return {arm: {"customers": n, "sum": total} for arm, (n, total) in arms.items()} | {"until": row.until}


def _number(name: str, default: float, what: str) -> OpenApiParameter:
    return OpenApiParameter(name, OpenApiTypes.DOUBLE, description=what, default=default)


class SampleSize(APIView):
    @extend_schema(
        responses={200: dict}, operation_id="sample_size",
        parameters=[
            _number("base", 0.8, "share of right answers now"), _number("drop", 0.05, "smallest drop that must be seen"),
            _number("power", 0.8, "probability of seeing it"), _number("alpha", 0.05, "probability of a false alarm"),
            _number("per_day", 0, "customers a day, to say how long it takes"),
        ],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """How many customers an A/B test needs in each arm, and for how many days."""
        readable_project(request, scope="labels:read")
        defaults = {"base": 0.8, "drop": 0.05, "power": 0.8, "alpha": 0.05, "per_day": 0.0}
        return Response(plan(**{k: _given(request, k, v) for k, v in defaults.items()}))


def _given(request: Request, name: str, default: float) -> float:
    try:
        return float(request.query_params.get(name, default))
    except ValueError as error:
        raise invalid(name, "Give a number.") from error


def plan(*, base: float, drop: float, power: float, alpha: float, per_day: float) -> dict[str, Any]:
    """The calculator: customers per arm of a fixed-size test, and days at this traffic. Raises Problem 422."""
    for name, value in (("power", power), ("alpha", alpha)):
        if not 0 < value < 1:
            raise invalid(name, "Give a share between 0 and 1.")
    if per_day and not 1 <= per_day < 1e9:
        raise invalid("per_day", "Give a number of customers a day, from 1 on.")
    try:
        per_arm = sample_size.sample_size(base, drop, alpha=alpha, power=power)
    except ValueError as error:
        raise Problem(422, "invalid-field", f"{error}.", field="drop") from error
    days = {p: round(per_arm / (per_day * min(p, 100 - p) / 100), 1) for p in (1, 5, 25, 50)} if per_day else {}
    return {"per_arm": per_arm, "customers": 2 * per_arm, "days_at_percent": {str(p): d for p, d in days.items()}}
