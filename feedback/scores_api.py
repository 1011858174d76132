"""GET /api/v1/scores and its preview; the weights of a project."""

from __future__ import annotations

from datetime import date
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback import figures, services
from feedback.access import readable_project
from feedback.models import Membership, Project, Role, User
from feedback.problems import Problem, invalid

_SHARE: Any = {"min_value": 0.0, "max_value": 1.0, "required": False}


class WeightsIn(serializers.Serializer[Any]):
    """Some of a project's weights; those that are not given stay as they are."""

    click_weight = serializers.FloatField(**_SHARE)
    dwell_weight = serializers.FloatField(**_SHARE)
    scroll_weight = serializers.FloatField(**_SHARE)
    dwell_rate = serializers.FloatField(min_value=1e-6, max_value=10.0, required=False, help_text="λ, per second")
    dwell_curve = serializers.ChoiceField(["exponential", "tanh"], required=False)
    rating_weight = serializers.FloatField(**_SHARE)
    sentiment_weight = serializers.FloatField(**_SHARE)
    nps_weight = serializers.FloatField(**_SHARE)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(self.initial_data) - set(self.fields))
        if unknown:
            raise serializers.ValidationError({unknown[0]: f"There is no weight {unknown[0]!r}."})
        if any(isinstance(v, float) and v != v for v in attrs.values()):
            raise serializers.ValidationError("A weight is a number.")
        return attrs


class Scores(APIView):
    """Figures of scores."""

    permission_classes = ()

    @extend_schema(
        parameters=[
            OpenApiParameter("by", str, enum=[*figures.GROUPS, "inquiry"], required=True),
            OpenApiParameter("from", date, description="first day (UTC) of the inquiries' arrival"),
            OpenApiParameter("to", date, description="last day, included"),
            OpenApiParameter("limit", int, description="rows per page, up to 500"),
            OpenApiParameter("after", str, description="`next` of the page before"),
            OpenApiParameter("project", str, description="for people: which of their projects"),
        ],
        responses={200: dict[str, Any]},
    )
    def get(self, request: Request) -> Response:
        """Scores, CTR and NPS with their intervals, by category, reply, model version, day or inquiry."""
        project = readable_project(request, scope="labels:read")
        by = request.query_params.get("by", "")
        if by not in figures.GROUPS and by != "inquiry":
            raise invalid("by", f"Choose one of {', '.join([*figures.GROUPS, 'inquiry'])}.")
        period = figures.Period(_day(request, "from"), _day(request, "to"))
        after, limit = request.query_params.get("after"), _limit(request)
        pending = figures.fresh(project.pk)
        if by == "inquiry":
            page = figures.by_inquiry(project_id=project.pk, period=period, after=after, limit=limit)
        else:
            page = figures.grouped(project_id=project.pk, by=by, period=period, after=after, limit=limit)
        return Response({"by": by, "scores": page.rows, "next": page.after, "pending": pending})


def _day(request: Request, name: str) -> date | None:
    given = request.query_params.get(name)
    try:
        return None if given is None else date.fromisoformat(given)
    except ValueError as error:
        raise invalid(name, "A day looks like 2026-01-31.") from error


def _limit(request: Request) -> int:
    given = request.query_params.get("limit", "100")
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:6]) <= figures.MAX_PAGE or len(given) > 6:
        raise invalid("limit", f"Ask for 1 to {figures.MAX_PAGE} rows.")
    return int(given)


class ScoresPreview(APIView):
    """What other weights would do."""

    permission_classes = ()

    @extend_schema(request=WeightsIn, responses={200: dict[str, Any]})
    def post(self, request: Request) -> Response:
        """Mean scores of the latest inquiries under the present and under other weights. Changes nothing."""
        project = readable_project(request, scope="labels:read")
        changes = _weights(request)
        figures.fresh(project.pk)
        return Response(figures.preview(project=project, changes=changes))


class ScoresWeights(APIView):
    """The weights of a project."""

    permission_classes = ()

    @extend_schema(request=WeightsIn, responses={200: dict[str, Any]})
    def patch(self, request: Request) -> Response:
        """Change weights: every score is made anew with the next fold. For an admin, or a key with models:admin."""
        project = readable_project(request, scope="models:admin")
        if (
            isinstance(request.user, User)
            and not Membership.objects.filter(user=request.user, project=project, role=Role.ADMIN).exists()
        ):
            raise Problem(403, "missing-role", "Only an admin of the project changes its weights.")
        services.set_weights(project_id=project.pk, changes=_weights(request))
        changed = Project.objects.get(pk=project.pk)
        return Response({name: getattr(changed, name) for name in figures.WEIGHTS})


def _weights(request: Request) -> dict[str, Any]:
    if not isinstance(request.data, dict):
        raise Problem(400, "malformed", "Send an object of weights.")
    given = WeightsIn(data=request.data)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)
