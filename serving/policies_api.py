"""GET /api/v1/policies, and taking a policy back."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, F, FloatField, Q, Sum, Value
from django.db.models.functions import Cast
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.access import managed_project, readable_project
from feedback.problems import not_found
from feedback.services import fold_scores
from feedback.totals import wilson
from serving import policies
from serving.models import PolicyVersion, ReplyShown


class Policies(APIView):
    @extend_schema(responses={200: dict}, operation_id="policies")
    def get(self, request: Request) -> Response:
        """A project's reply policies, newest first, and how each reply that they showed was received."""
        project = readable_project(request, scope="labels:read")
        versions = PolicyVersion.objects.filter(project=project).select_related("parent").order_by("-number")[:100]
        return Response({"policies": [card(v) for v in versions], "replies": received(project_id=project.pk)})


class PolicyRollback(APIView):
    @extend_schema(request=None, responses={200: dict}, operation_id="policy_rollback")
    def post(self, request: Request, number: int) -> Response:
        """Put the version before the one in production back; before the first, each category's reply is sent (`null`)."""
        project = managed_project(request, scope="models:admin")
        version = PolicyVersion.objects.filter(project=project, number=number).first()
        if version is None:
            raise not_found("policy")
        earlier = policies.rollback(project_id=project.pk, encoder_sha=version.encoder_sha)
        return Response({"policy": card(earlier) if earlier else None})


def card(v: PolicyVersion) -> dict[str, Any]:
    return {
        "number": v.number, "stage": v.stage, "encoder": v.encoder_sha, "manifest": v.manifest_sha, "replies": v.replies,
        "parent": v.parent.number if v.parent else None, "temperature": v.temperature, "exploration": v.exploration,
        "metrics": v.metrics, "gates": v.gates, "screening": v.screening, "lineage": v.lineage,
        "created_at": v.created_at, "promoted_at": v.promoted_at,
    }  # fmt: skip


def received(*, project_id: int) -> list[dict[str, Any]]:
    """Per reply: times shown, thumbs, approval with its 95 % interval, and approval with each vote weighed by 1/propensity
    (self-normalised), which is what would be seen were all candidates shown evenly."""
    fold_scores(project_id=project_id)
    inverse = Cast(Value(1.0) / F("propensity"), FloatField())
    up, down = Q(inquiry__score__thumbs=1), Q(inquiry__score__thumbs=-1)
    shown = ReplyShown.objects.filter(policy__project_id=project_id, reply__isnull=False)
    rows = shown.values("reply_id").annotate(
        shown=Count("pk"), ups=Count("pk", filter=up), downs=Count("pk", filter=down),
        up_weight=Sum(inverse, filter=up, default=0.0), weight=Sum(inverse, filter=up | down, default=0.0),
    ).order_by("reply_id")  # fmt: skip
    return [_reply(dict(r)) for r in rows]


def _reply(r: dict[str, Any]) -> dict[str, Any]:
    votes = r["ups"] + r["downs"]
    interval = wilson(r["ups"], votes)
    return {
        "reply": r["reply_id"], "shown": r["shown"], "ups": r["ups"], "downs": r["downs"],
        "approval": round(r["ups"] / votes, 4) if votes else None, "low": round(interval.low, 4), "high": round(interval.high, 4),
        "corrected": round(r["up_weight"] / r["weight"], 4) if votes else None,
    }  # fmt: skip
