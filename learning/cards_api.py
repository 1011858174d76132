"""Cards, lineage and explanations over HTTP."""

from __future__ import annotations

import uuid

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.access import readable_project
from feedback.models import Inquiry, Membership, User
from feedback.problems import Problem, invalid, not_found
from feedback.visits import AGENTS
from learning import cards
from learning.explanations import explain
from learning.lineage import lineage
from learning.models import TrainingRun
from serving.models import ModelVersion
from serving.registry_api import PROJECT, numbered

MARKDOWN = {(200, "text/markdown"): OpenApiResponse(OpenApiTypes.STR)}
CATEGORY = OpenApiParameter("category", description="The category to explain; else the one that is answered.")


def markdown(text: str) -> HttpResponse:
    return HttpResponse(text, content_type="text/markdown; charset=utf-8")


class ModelCard(APIView):
    @extend_schema(responses=MARKDOWN, operation_id="model_card", parameters=[PROJECT])
    def get(self, request: Request, number: int) -> HttpResponse:
        """The model card: intended use, figures, gates, the five parts, history and limits."""
        return markdown(cards.model_card(_version(request, number)))


class DatasetCard(APIView):
    @extend_schema(responses=MARKDOWN, operation_id="model_data_card", parameters=[PROJECT])
    def get(self, request: Request, number: int) -> HttpResponse:
        """The card of the labels that a version was trained on: counts by category and fold, without a text."""
        run = TrainingRun.objects.filter(model=_version(request, number)).select_related("snapshot__successor").first()
        if run is None:
            raise not_found("run")
        return markdown(cards.dataset_card(run.snapshot))


class ModelLineage(APIView):
    @extend_schema(responses={200: dict}, operation_id="model_lineage", parameters=[PROJECT])
    def get(self, request: Request, number: int) -> Response:
        """What a version came from and what was compared with it, as nodes and edges."""
        return Response(lineage(_version(request, number)).as_json())


class InquiryExplanation(APIView):
    @extend_schema(responses={200: dict}, operation_id="inquiry_explanation", parameters=[PROJECT, CATEGORY])
    def get(self, request: Request, inquiry_id: uuid.UUID) -> Response:
        """Why the head that serves answers an inquiry as it does: sampled values of words, exact ones of coordinates.

        Not for annotators, whose answers must not follow the model's.
        """
        project = readable_project(request, scope="inquiries:read")
        if isinstance(request.user, User):
            held = Membership.objects.filter(user=request.user, project=project, role__in=AGENTS)
            if not held.exists():
                raise Problem(403, "missing-role", "This needs the role agent, lead or admin in the project.")
        inquiry = Inquiry.objects.filter(pk=inquiry_id, project=project).first()
        if inquiry is None:
            raise not_found("inquiry")
        try:
            found = explain(project_id=project.pk, inquiry=inquiry, category=request.query_params.get("category"))
        except LookupError as error:
            raise invalid("category", f"{error}.") from error
        if found is None:
            raise not_found("category")
        return Response(found.as_json())


def _version(request: Request, number: int) -> ModelVersion:
    return numbered(readable_project(request, scope="labels:read"), number)
