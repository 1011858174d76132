"""Agreement, reliability, known items and qualifications over HTTP."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.access import project_for, readable_project
from feedback.models import Category, Membership, Project, Role, User
from feedback.problems import invalid
from feedback.rest import StrictSerializer
from labeling import measures
from labeling.api import PersonView, must_lead
from labeling.models import GoldItem, Qualification


class GoldIn(StrictSerializer):
    project = serializers.SlugField()
    task = serializers.IntegerField(min_value=1, max_value=2**63 - 1)
    on = serializers.BooleanField(default=True)


class QualificationIn(StrictSerializer):
    project = serializers.SlugField()
    person = serializers.CharField(max_length=150)
    languages = serializers.ListField(child=serializers.RegexField("^[a-z]{2,8}$"), max_length=50, default=list)
    categories = serializers.ListField(child=serializers.SlugField(max_length=100), max_length=1_000, default=list)


class LeadView(PersonView):
    """For leads and admins of the project that the request names."""

    def led(self, request: Request, slug: str | None) -> Project:
        user: User = self.person(request)
        project = project_for(user, slug)
        must_lead(user, project)
        return project


class Agreement(APIView):
    @extend_schema(responses={200: dict}, operation_id="agreement")
    def get(self, request: Request) -> Response:
        """κ of each pair of annotators (by pseudonymous number), per category and week, Fleiss' κ, Krippendorff's α, and what
        the policy makes of it. A coefficient that is undefined is null, and `why` says so."""
        project = readable_project(request, scope="labels:read")
        return Response(measures.agreement_report(project.pk))


class Reliability(LeadView):
    @extend_schema(responses={200: dict}, operation_id="reliability")
    def get(self, request: Request) -> Response:
        """How often each annotator is right, as an interval; where it has fallen, that is suggested to the lead."""
        project = self.led(request, request.query_params.get("project"))
        found = measures.reliability_of(project.pk)
        names = dict(User.objects.filter(pk__in={r.annotator for r in found}).values_list("pk", "username"))
        keys = dict(Category.objects.filter(project=project).values_list("pk", "key"))
        rows = [
            {
                "person": names[r.annotator], "category": keys[r.category] if r.category else None, **r.all.as_json(),
                "before": r.before.as_json(), "recent": r.recent.as_json(), "falling": r.falling,
            }
            for r in found
        ]  # fmt: skip
        return Response({"annotators": rows})


class Gold(LeadView):
    @extend_schema(request=GoldIn, responses={200: dict}, operation_id="gold_set")
    def post(self, request: Request) -> Response:
        """Make a settled task a known item, or no longer one."""
        given = GoldIn(data=request.data)
        given.is_valid(raise_exception=True)
        v = given.validated_data
        project = self.led(request, v["project"])
        task = measures.may_be_gold(project.pk, v["task"])
        if task is None or task.category_id is None:
            raise invalid("task", "Only a task of this project that is settled beyond doubt can be a known item.")
        GoldItem.objects.update_or_create(
            task=task, defaults={"project": project, "category_id": task.category_id, "active": v["on"]}
        )
        return Response({"task": task.pk, "gold": v["on"]})


class Qualifications(LeadView):
    @extend_schema(responses={200: dict}, operation_id="qualifications")
    def get(self, request: Request) -> Response:
        """What each person may label; who is not listed reads every language and no restricted category."""
        project = self.led(request, request.query_params.get("project"))
        keys = dict(Category.objects.filter(project=project).values_list("pk", "key"))
        rows = Qualification.objects.filter(project=project).select_related("annotator").order_by("annotator__username")
        return Response({"qualifications": [_qualification(q, keys) for q in rows]})

    @extend_schema(request=QualificationIn, responses={200: dict}, operation_id="qualification_set")
    def put(self, request: Request) -> Response:
        """Say which languages and restricted categories a person may label; no languages means every language."""
        given = QualificationIn(data=request.data)
        given.is_valid(raise_exception=True)
        v = given.validated_data
        project = self.led(request, v["project"])
        person = Membership.objects.filter(
            project=project, user__username=v["person"], role__in=[Role.ANNOTATOR, Role.EXPERT]
        ).first()
        if person is None:
            raise invalid("person", f"{v['person']!r} is no annotator or expert of this project.")
        ids = dict(Category.objects.filter(project=project, archived_at=None).values_list("key", "pk"))
        if unknown := [k for k in v["categories"] if k not in ids]:
            raise invalid("categories", f"There is no category {unknown[0]!r} in this project.")
        row, _ = Qualification.objects.update_or_create(
            project=project, annotator_id=person.user_id,
            defaults={"languages": sorted(set(v["languages"])), "categories": sorted({ids[k] for k in v["categories"]})},
        )  # fmt: skip
        return Response(_qualification(row, {pk: key for key, pk in ids.items()}))


def _qualification(row: Qualification, keys: dict[int, str]) -> dict[str, Any]:
    return {
        "person": row.annotator.username, "languages": row.languages,
        "categories": sorted(keys[c] for c in row.categories if c in keys),
    }  # fmt: skip
