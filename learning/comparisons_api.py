"""GET /api/v1/comparisons: how comparing replies goes; POST: have more of them made."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.access import managed_project, readable_project
from feedback.rest import StrictSerializer
from labeling import comparing
from learning import comparisons


class CountIn(StrictSerializer):
    count = serializers.IntegerField(min_value=1, max_value=comparisons.MOST, default=comparisons.COUNT)


class Comparisons(APIView):
    @extend_schema(responses={200: dict}, operation_id="comparisons")
    def get(self, request: Request) -> Response:
        """Comparisons asked and settled, what people said, and how far they agree."""
        return Response(comparing.progress(project_id=readable_project(request, scope="labels:read").pk))

    @extend_schema(request=CountIn, responses={202: dict}, operation_id="comparisons_make")
    def post(self, request: Request) -> Response:
        """Ask people about the pairs that the policy in service is least sure of."""
        project = managed_project(request, scope="models:admin")
        given = CountIn(data=request.data)
        given.is_valid(raise_exception=True)
        job = comparisons.ask(project_id=project.pk, count=given.validated_data["count"])
        return Response({"job": job.pk, "state": job.state}, status=202)
