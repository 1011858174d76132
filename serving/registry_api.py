"""Model versions over HTTP: listing, promoting, rolling back, naming."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.access import managed_project, name_of, readable_project
from feedback.models import Project
from feedback.problems import invalid, not_found
from serving import registry
from serving.models import ModelVersion, Stage

SHOWN = 100
STAGE = OpenApiParameter("stage", enum=Stage.values)
ALIAS = OpenApiParameter("alias", description="The version of this name alone.")
TO = OpenApiParameter(
    "to", int, description="The archived version that shall serve; else the one before the present one."
)
PROJECT = OpenApiParameter("project", description="A person's project; a key has its own.")


class Models(APIView):
    @extend_schema(responses={200: dict}, operation_id="models", parameters=[PROJECT, STAGE, ALIAS])
    def get(self, request: Request) -> Response:
        """A project's model versions, newest first."""
        versions = _of(readable_project(request, scope="labels:read"))
        if stage := request.query_params.get("stage"):
            if stage not in Stage.values:
                raise invalid("stage", f"Choose one of {', '.join(Stage.values)}.")
            versions = versions.filter(stage=stage)
        if alias := request.query_params.get("alias"):
            versions = versions.filter(aliases__name=alias)
        return Response({"models": [summary(v) for v in versions[:SHOWN]]})


class Model(APIView):
    @extend_schema(responses={200: dict}, operation_id="model", parameters=[PROJECT])
    def get(self, request: Request, number: int) -> Response:
        """One version: its stage, names, metrics, gates and the five parts that it was made from."""
        return Response(summary(numbered(readable_project(request, scope="labels:read"), number)))


class ModelPromote(APIView):
    @extend_schema(request=None, responses={200: dict}, operation_id="model_promote", parameters=[PROJECT])
    def post(self, request: Request, number: int) -> Response:
        """Put a version into production: one that waits for a person, or one that has served before."""
        version = numbered(managed_project(request, scope="models:admin"), number)
        return Response(summary(registry.promote(version_id=version.pk, by=name_of(request))))


class ModelRollback(APIView):
    @extend_schema(request=None, responses={200: dict}, operation_id="model_rollback", parameters=[PROJECT, TO])
    def post(self, request: Request, number: int) -> Response:
        """Roll the line of this version's encoder back: to the version before, or to any that has served."""
        version = numbered(managed_project(request, scope="models:admin"), number)
        to = request.query_params.get("to")
        if to is not None and not (to.isascii() and to.isdecimal() and len(to) < 10):
            raise invalid("to", "Name the version by its number.")
        back = registry.rollback(
            project_id=version.project_id, encoder_sha=version.encoder_sha, to=None if to is None else int(to),
            by=name_of(request),
        )  # fmt: skip
        return Response(summary(back))


class ModelAlias(APIView):
    @extend_schema(request=None, responses={200: dict}, operation_id="model_alias_set", parameters=[PROJECT])
    def put(self, request: Request, number: int, alias: str) -> Response:
        """Let a name ("champion") stand for this version; a name stands for one version of a project at a time."""
        project = managed_project(request, scope="models:admin")
        registry.name_version(version_id=numbered(project, number).pk, name=alias)
        return Response(summary(numbered(project, number)))

    @extend_schema(request=None, responses={204: None}, operation_id="model_alias_remove", parameters=[PROJECT])
    def delete(self, request: Request, number: int, alias: str) -> Response:
        """Take a name away from this version."""
        version = numbered(managed_project(request, scope="models:admin"), number)
        if not version.aliases.filter(name=alias).delete()[0]:
            raise not_found("alias")
        return Response(status=204)


def numbered(project: Project, number: int) -> ModelVersion:
    """The version of this number, or 404."""
    found = _of(project).filter(number=number).first()
    if found is None:
        raise not_found("model")
    return found


def summary(v: ModelVersion) -> dict[str, Any]:
    return {
        "number": v.number, "kind": v.kind, "stage": v.stage, "encoder": v.encoder_sha, "manifest": v.manifest_sha,
        "parent": v.parent.number if v.parent else None, "metrics": v.metrics, "gates": v.gates, "lineage": v.lineage,
        "created_at": v.created_at, "promoted_at": v.promoted_at, "approved_by": v.approved_by or None,
        "approved_at": v.approved_at, "barred": v.barred or None, "aliases": sorted(a.name for a in v.aliases.all()),
    }  # fmt: skip


def _of(project: Project) -> QuerySet[ModelVersion]:
    return (
        ModelVersion.objects.filter(project=project)
        .select_related("parent")
        .prefetch_related("aliases")
        .order_by("-number")
    )
