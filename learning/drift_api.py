"""Drift over HTTP: reports, verdicts, the loop guard, and a check now."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.access import managed_project, readable_project
from feedback.problems import invalid, not_found
from learning import drift_tasks
from learning.models import DriftReport, GuardReport, RetrainingVerdict

SHOWN, MOST = 50, 500
READ, MANAGE = "labels:read", "models:admin"
LIMIT = OpenApiParameter("limit", OpenApiTypes.INT, description=f"how many, at most {MOST}", default=SHOWN)


class DriftReports(APIView):
    @extend_schema(responses={200: dict}, operation_id="drift_reports", parameters=[LIMIT])
    def get(self, request: Request) -> Response:
        """Drift checks, newest first; what they found in detail is in each report."""
        project = readable_project(request, scope=READ)
        found = DriftReport.objects.filter(project=project).order_by("-created_at", "-pk")
        return Response({"reports": [outline(r) for r in _limited(request, found)]})

    @extend_schema(request=None, responses={202: dict}, operation_id="drift_check")
    def post(self, request: Request) -> Response:
        """Check now. A check that waits already is the one that is returned."""
        project = managed_project(request, scope=MANAGE)
        job = drift_tasks.ask(project_id=project.pk)
        return Response({"job": job.pk, "state": job.state}, status=202)


class OneDriftReport(APIView):
    @extend_schema(responses={200: dict}, operation_id="drift_report")
    def get(self, request: Request, report_id: int) -> Response:
        """One check: parts, detectors, slices, moved shares, and the inquiries that drifted (by id, never their text)."""
        project = readable_project(request, scope=READ)
        row = DriftReport.objects.filter(pk=report_id, project=project).select_related("reference").first()
        if row is None:
            raise not_found("drift report")
        return Response(payload(row))


class Verdicts(APIView):
    @extend_schema(responses={200: dict}, operation_id="drift_verdicts", parameters=[LIMIT])
    def get(self, request: Request) -> Response:
        """Whether to retrain, and why: audited accuracy, its decay, the expected day, and the trainings asked for."""
        project = readable_project(request, scope=READ)
        found = RetrainingVerdict.objects.filter(project=project).order_by("-created_at", "-pk")
        return Response({"verdicts": [verdict(v) for v in _limited(request, found)]})


class Guard(APIView):
    @extend_schema(responses={200: dict}, operation_id="loop_guard", parameters=[LIMIT])
    def get(self, request: Request) -> Response:
        """How much the model learns from itself: α with its interval and bound, stability, exposure and alarms."""
        project = readable_project(request, scope=READ)
        found = GuardReport.objects.filter(project=project).order_by("-created_at", "-pk")
        return Response({"guard": [guard(g) for g in _limited(request, found)]})


def _limited(request: Request, rows: QuerySet[Any]) -> QuerySet[Any]:
    given = request.query_params.get("limit", str(SHOWN))
    if not (given.isascii() and given.isdigit() and 0 < len(given) < 6):
        raise invalid("limit", "Give a whole number.")
    return rows[: min(max(int(given), 1), MOST)]


def outline(r: DriftReport) -> dict[str, Any]:
    """What a list shows of a check."""
    return {
        "id": r.pk, "state": r.state, "kinds": r.kinds, "p_value": r.p_value, "level": r.level, "statistic": r.statistic,
        "threshold": r.threshold, "looks": r.looks, "texts": r.n, "encoder": r.encoder_sha, "trigger": r.trigger,
        "begins": r.begins, "ends": r.ends, "created_at": r.created_at,
    }  # fmt: skip


def payload(r: DriftReport) -> dict[str, Any]:
    """The whole check."""
    kept = r.reference
    return outline(r) | {
        "parts": r.parts, "detectors": r.detectors, "slices": r.slices, "signals": r.signals, "shifts": r.shifts,
        "examples": r.examples, "window": r.window, "resamples": r.resamples, "cpu_seconds": r.cpu_seconds,
        "reference": {"sha256": kept.sha256, "texts": kept.size, "labels": kept.labels, "upto": kept.upto},
    }  # fmt: skip


def verdict(v: RetrainingVerdict) -> dict[str, Any]:
    return {
        "id": v.pk, "retrain": v.retrain, "reason": v.reason, "wanted": v.wanted, "job": v.training_id,
        "critical_in_a_row": v.critical_in_a_row, "days_since_training": v.days_since_training, "accuracy": v.now,
        "accuracy_at_promotion": v.before, "decay": v.decay, "expected_on": v.expected_on, "earliest_on": v.earliest_on,
        "latest_on": v.latest_on, "monitors": v.monitors, "created_at": v.created_at,
    }  # fmt: skip


def guard(g: GuardReport) -> dict[str, Any]:
    return {
        "id": g.pk, "encoder": g.encoder_sha, "labels": g.labels, "alpha": g.alpha, "lower": g.lower, "upper": g.upper,
        "bound": g.bound, "own": g.own, "seen": g.seen, "ceiling": g.ceiling, "copy_rate": g.copy_rate, "exposure": g.exposure,
        "eigenvalue": g.eigenvalue, "power": g.power, "shares": g.shares, "training_shares": g.training_shares,
        "audited": g.audited, "alarms": g.alarms, "guarded": g.guarded, "ceiling_guarded": g.ceiling_guarded,
        "created_at": g.created_at,
    }  # fmt: skip
