"""Comparing replies over HTTP, for people with session + CSRF: the next pair, a verdict, the lease, and undo."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.access import project_for
from feedback.models import Membership, User
from feedback.problems import not_found
from feedback.rest import StrictSerializer
from labeling import comparing, services
from labeling.api import LeaseIn, PersonView, ReleaseIn
from labeling.desk_api import seconds_until
from labeling.models import Comparison
from labeling.queue import Lease


class ComparisonNextIn(StrictSerializer):
    project = serializers.SlugField(max_length=64, required=False)


class VerdictIn(LeaseIn):
    verdict = serializers.ChoiceField([*comparing.SIDES, "skip"])
    seconds = serializers.FloatField(min_value=0, max_value=86_400, required=False, allow_null=True)


class ComparisonNext(PersonView):
    @extend_schema(request=ComparisonNextIn, responses={200: dict, 204: None}, operation_id="comparison_next")
    def post(self, request: Request) -> Response:
        """The pair in the caller's hand, or a new one; 204 where nothing is to be compared."""
        given = ComparisonNextIn(data=request.data)
        given.is_valid(raise_exception=True)
        user = self.person(request)
        project = project_for(user, given.validated_data.get("project"))
        services.slot_roles(user_id=user.pk, project_id=project.pk)
        found = _next(user, project.pk, project.lease_seconds)
        return Response(status=204) if found is None else Response(found)


class ComparisonVerdict(PersonView):
    @extend_schema(request=VerdictIn, responses={201: dict}, operation_id="comparison_verdict")
    def post(self, request: Request, comparison_id: int) -> Response:
        """Say which reply is better, that they are alike, that neither will do, or skip; the next pair comes back."""
        given = VerdictIn(data=request.data)
        given.is_valid(raise_exception=True)
        user, v = self.person(request), given.validated_data
        row = own_comparison(user, comparison_id)
        taken = comparing.answer(
            project_id=row.project_id, comparison_id=row.pk, annotator_id=user.pk, token=v["token"], said=v["verdict"],
            seconds=v.get("seconds"),
        )  # fmt: skip
        following = _next(user, row.project_id, row.project.lease_seconds)
        extra = taken.slot_id is None and v["verdict"] != "skip"
        return Response({"comparison": row.pk, "answer": taken.pk, "extra": extra, "next": following}, status=201)


class ComparisonHeartbeat(PersonView):
    @extend_schema(request=LeaseIn, responses={200: dict}, operation_id="comparison_heartbeat")
    def post(self, request: Request, comparison_id: int) -> Response:
        """Keep a lease alive."""
        given = LeaseIn(data=request.data)
        given.is_valid(raise_exception=True)
        user = self.person(request)
        row = own_comparison(user, comparison_id)
        expires = comparing.extend(
            comparison_id=row.pk, annotator_id=user.pk, token=given.validated_data["token"],
            seconds=row.project.lease_seconds,
        )  # fmt: skip
        return Response({"lease": {"expires_at": expires, "expires_in": seconds_until(expires)}})


class ComparisonRelease(PersonView):
    @extend_schema(request=ReleaseIn, responses={204: None}, operation_id="comparison_release")
    def post(self, request: Request, comparison_id: int) -> Response:
        """Give a pair back unanswered; with `known_until` only when its lease was not renewed after that."""
        given = ReleaseIn(data=request.data)
        given.is_valid(raise_exception=True)
        user, v = self.person(request), given.validated_data
        row = own_comparison(user, comparison_id)
        comparing.release(
            comparison_id=row.pk, annotator_id=user.pk, token=v["token"], known_until=v.get("known_until")
        )
        return Response(status=204)


class ComparisonUndo(PersonView):
    @extend_schema(request=StrictSerializer, responses={200: dict}, operation_id="comparison_undo")
    def post(self, request: Request, comparison_id: int) -> Response:
        """Take the caller's own verdict back; the pair may come to them again."""
        StrictSerializer(data=request.data).is_valid(raise_exception=True)
        user = self.person(request)
        row = own_comparison(user, comparison_id)
        comparing.undo(project_id=row.project_id, comparison_id=row.pk, annotator_id=user.pk)
        return Response({"comparison": row.pk, "next": _next(user, row.project_id, row.project.lease_seconds)})


class ComparisonStatus(PersonView):
    @extend_schema(responses={200: dict}, operation_id="comparison_status")
    def get(self, request: Request) -> Response:
        """How much waits for the caller, and how much they compared today."""
        user = self.person(request)
        project = project_for(user, request.query_params.get("project"))
        services.slot_roles(user_id=user.pk, project_id=project.pk)
        return Response(comparing.status(project_id=project.pk, annotator_id=user.pk))


def _next(user: User, project_id: int, seconds: float) -> dict[str, Any] | None:
    lease = comparing.claim(project_id=project_id, annotator_id=user.pk, seconds=seconds)
    return None if lease is None else leased(lease)


def leased(lease: Lease) -> dict[str, Any]:
    """A lease with the pair that it is on."""
    return {
        "task": comparing.payload(comparison_id=lease.task_id, annotator_id=lease.annotator_id),
        "lease": {"token": str(lease.token), "expires_at": lease.expires_at, "expires_in": seconds_until(lease.expires_at)},
    }  # fmt: skip


def own_comparison(user: User, comparison_id: int) -> Comparison:
    """404 for one of a project that is not the caller's, 403 for somebody who does not label there."""
    projects = Membership.objects.filter(user=user).values("project_id")
    row = Comparison.objects.filter(pk=comparison_id, project_id__in=projects).select_related("project").first()
    if row is None:
        raise not_found("comparison")
    services.slot_roles(user_id=user.pk, project_id=row.project_id)
    return row
