"""The queue over HTTP, for people (session + CSRF)."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.access import IsPerson, project_for, readable_project
from feedback.models import Membership, User
from feedback.problems import not_found
from labeling import queue, selectors, services
from labeling.models import LabelTask


class StrictSerializer(serializers.Serializer[Any]):
    """Unknown fields are an error, never dropped."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, dict) else []
        if unknown:
            raise serializers.ValidationError(
                {unknown[0]: f"There is no field {unknown[0]!r}. Remove it or check its spelling."}
            )
        return super().to_internal_value(data)


class NextIn(StrictSerializer):
    project = serializers.SlugField(required=False)


class LeaseIn(StrictSerializer):
    token = serializers.UUIDField()


class AnnotationIn(LeaseIn):
    category = serializers.SlugField(max_length=100)
    saw_suggestion = serializers.BooleanField(default=False)
    seconds = serializers.FloatField(required=False, min_value=0, max_value=86_400)


class PersonView(APIView):
    permission_classes = [IsPerson]

    def person(self, request: Request) -> User:
        assert isinstance(request.user, User)
        return request.user


class QueueNext(PersonView):
    @extend_schema(request=NextIn, responses={200: dict, 204: None}, operation_id="queue_next")
    def post(self, request: Request) -> Response:
        """The caller's live lease, or a new one on the best open task; 204 when there is nothing to do."""
        given = NextIn(data=request.data)
        given.is_valid(raise_exception=True)
        user = self.person(request)
        project = project_for(user, given.validated_data.get("project"))
        roles = services.slot_roles(user_id=user.pk, project_id=project.pk)
        lease = queue.claim(project_id=project.pk, annotator_id=user.pk, roles=roles, seconds=project.lease_seconds)
        if lease is None:
            return Response(status=204)
        task = LabelTask.objects.select_related("inquiry", "suggestion").get(pk=lease.task_id)
        return Response(
            {"task": selectors.task_payload(task), "lease": {"token": str(lease.token), "expires_at": lease.expires_at}}
        )


class TaskAnnotations(PersonView):
    @extend_schema(request=AnnotationIn, responses={201: dict}, operation_id="task_annotate")
    def post(self, request: Request, task_id: int) -> Response:
        """Submit an answer on a lease; the same answer again gets the same reply."""
        given = AnnotationIn(data=request.data)
        given.is_valid(raise_exception=True)
        user, v = self.person(request), given.validated_data
        task = own_task(user, task_id)
        answer = services.Answer(
            task_id=task.pk, annotator_id=user.pk, token=v["token"], category=v["category"],
            saw_suggestion=v["saw_suggestion"], seconds=v.get("seconds"),
        )  # fmt: skip
        annotation = services.annotate(project_id=task.project_id, answer=answer)
        task.refresh_from_db()
        return Response(
            {"annotation": annotation.pk, "task": task.pk, "state": task.state, "extra": annotation.extra}, status=201
        )


class TaskHeartbeat(PersonView):
    @extend_schema(request=LeaseIn, responses={200: dict}, operation_id="task_heartbeat")
    def post(self, request: Request, task_id: int) -> Response:
        """Keep a lease alive."""
        given = LeaseIn(data=request.data)
        given.is_valid(raise_exception=True)
        user = self.person(request)
        task = own_task(user, task_id)
        expires = queue.extend(
            task_id=task.pk,
            annotator_id=user.pk,
            token=given.validated_data["token"],
            seconds=task.project.lease_seconds,
        )
        if expires is None:
            raise services.lease_lost()
        return Response({"lease": {"expires_at": expires}})


class TaskRelease(PersonView):
    @extend_schema(request=LeaseIn, responses={204: None}, operation_id="task_release")
    def post(self, request: Request, task_id: int) -> Response:
        """Give a task back unanswered."""
        given = LeaseIn(data=request.data)
        given.is_valid(raise_exception=True)
        user = self.person(request)
        task = own_task(user, task_id)
        with transaction.atomic():
            services.skip(
                project_id=task.project_id, task_id=task.pk, annotator_id=user.pk, token=given.validated_data["token"]
            )
        return Response(status=204)


class Agreement(APIView):
    @extend_schema(responses={200: dict}, operation_id="agreement")
    def get(self, request: Request) -> Response:
        """Cohen's κ of each pair of annotators (by pseudonymous number), and their weighted mean."""
        project = readable_project(request, scope="labels:read")
        kappas = selectors.pairwise_kappas(project_id=project.pk)
        people = sorted({p for who, _ in kappas for p in who})
        number = {p: i + 1 for i, p in enumerate(people)}
        mean, items = selectors.mean_kappa(project_id=project.pk)
        pairs = [
            {
                "annotators": [number[a], number[b]],
                "kappa": k.value,
                "low": k.low,
                "high": k.high,
                "items": k.items,
                "why": k.why,
            }
            for (a, b), k in kappas
        ]
        return Response({"kappa": mean, "items": items, "pairs": pairs})


def own_task(user: User, task_id: int) -> LabelTask:
    projects = Membership.objects.filter(user=user).values("project_id")
    task = LabelTask.objects.filter(pk=task_id, project_id__in=projects).select_related("project").first()
    if task is None:
        raise not_found("task")
    services.slot_roles(user_id=user.pk, project_id=task.project_id)
    return task
