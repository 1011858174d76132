"""The queue over HTTP, for people (session + CSRF)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.access import IsPerson, project_for, readable_project
from feedback.models import Membership, Project, User
from feedback.problems import Problem, not_found
from feedback.rest import StrictSerializer
from labeling import actions, queue, selectors, services
from labeling.models import LabelTask, SkipReason, SlotRole


class NextIn(StrictSerializer):
    project = serializers.SlugField(required=False)
    role = serializers.ChoiceField(SlotRole.choices, required=False)
    prefetch = serializers.BooleanField(default=False)


class LeaseIn(StrictSerializer):
    token = serializers.UUIDField()


class ReleaseIn(LeaseIn):
    known_until = serializers.DateTimeField(required=False)


class AnnotationIn(LeaseIn):
    category = serializers.SlugField(max_length=100)
    saw_suggestion = serializers.BooleanField(default=False)
    seconds = serializers.FloatField(required=False, min_value=0, max_value=86_400)


class SkipIn(LeaseIn):
    reason = serializers.ChoiceField(SkipReason.choices, default=SkipReason.NONE, allow_blank=True)


class EscalateIn(LeaseIn):
    detail = serializers.CharField(max_length=500, default="", allow_blank=True)


class FlagIn(StrictSerializer):
    on = serializers.BooleanField()


class PersonView(APIView):
    permission_classes = [IsPerson]

    def person(self, request: Request) -> User:
        assert isinstance(request.user, User)
        return request.user


class QueueNext(PersonView):
    @extend_schema(request=NextIn, responses={200: dict, 204: None}, operation_id="queue_next")
    def post(self, request: Request) -> Response:
        """The caller's live lease, or a new one on the best open task; 204 when there is nothing to do.

        With `prefetch` it is the item after that one: a short reservation, in hand as soon as the first is answered.
        """
        given = NextIn(data=request.data)
        given.is_valid(raise_exception=True)
        user, v = self.person(request), given.validated_data
        project = project_for(user, v.get("project"))
        roles = roles_for(user, project, v.get("role"))
        lease = queue.claim(
            project_id=project.pk, annotator_id=user.pk, roles=roles, reserve=v["prefetch"],
            seconds=queue.RESERVE_SECONDS if v["prefetch"] else project.lease_seconds,
        )  # fmt: skip
        return Response(status=204) if lease is None else Response(leased(lease))


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
        task.refresh_from_db(fields=["state"])
        body = {"annotation": annotation.pk, "task": task.pk, "state": task.state, "extra": annotation.extra}
        return Response(body | in_hand(user, task, annotation.role), status=201)


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
        return Response({"lease": {"expires_at": expires, "expires_in": seconds_until(expires)}})


class TaskRelease(PersonView):
    @extend_schema(request=ReleaseIn, responses={204: None}, operation_id="task_release")
    def post(self, request: Request, task_id: int) -> Response:
        """Give a task back unanswered; with `known_until` only when its lease was not renewed after that."""
        given = ReleaseIn(data=request.data)
        given.is_valid(raise_exception=True)
        user = self.person(request)
        task = own_task(user, task_id)
        v = given.validated_data
        actions.release(
            project_id=task.project_id, task_id=task.pk, annotator_id=user.pk, token=v["token"],
            known_until=v.get("known_until"),
        )  # fmt: skip
        return Response(status=204)


class TaskSkip(PersonView):
    @extend_schema(request=SkipIn, responses={200: dict}, operation_id="task_skip")
    def post(self, request: Request, task_id: int) -> Response:
        """Leave a task to others; it is not handed to the caller again."""
        given = SkipIn(data=request.data)
        given.is_valid(raise_exception=True)
        user, v = self.person(request), given.validated_data
        task = own_task(user, task_id)
        role = queue.role_of(task_id=task.pk, token=v["token"])
        actions.skip(
            project_id=task.project_id, task_id=task.pk, annotator_id=user.pk, token=v["token"], reason=v["reason"]
        )
        return Response({"task": task.pk} | in_hand(user, task, role))


class TaskEscalate(PersonView):
    @extend_schema(request=EscalateIn, responses={201: dict}, operation_id="task_escalate")
    def post(self, request: Request, task_id: int) -> Response:
        """Hand the customer to an agent; the item leaves the caller's hands."""
        given = EscalateIn(data=request.data)
        given.is_valid(raise_exception=True)
        user, v = self.person(request), given.validated_data
        task = own_task(user, task_id)
        role = queue.role_of(task_id=task.pk, token=v["token"])
        escalation = actions.escalate(
            project_id=task.project_id, task_id=task.pk, annotator_id=user.pk, token=v["token"], detail=v["detail"]
        )
        return Response({"task": task.pk, "escalation": escalation.pk} | in_hand(user, task, role), status=201)


class TaskFlag(PersonView):
    @extend_schema(request=FlagIn, responses={200: dict}, operation_id="task_flag")
    def post(self, request: Request, task_id: int) -> Response:
        """Ask the lead to look at a task, or take that back."""
        given = FlagIn(data=request.data)
        given.is_valid(raise_exception=True)
        user = self.person(request)
        task = own_task(user, task_id)
        on = given.validated_data["on"]
        actions.flag(project_id=task.project_id, task_id=task.pk, annotator_id=user.pk, on=on)
        return Response({"task": task.pk, "flagged": on})


class TaskUndo(PersonView):
    @extend_schema(request=StrictSerializer, responses={200: dict}, operation_id="task_undo")
    def post(self, request: Request, task_id: int) -> Response:
        """Take back one of the caller's last ten answers; the item is in their hand again where it still can be."""
        StrictSerializer(data=request.data).is_valid(raise_exception=True)
        user = self.person(request)
        task = own_task(user, task_id)
        lease = actions.undo(
            project_id=task.project_id, task_id=task.pk, annotator_id=user.pk, seconds=task.project.lease_seconds
        )
        return Response({"task": {"id": task.pk}, "lease": None} if lease is None else leased(lease))


class DeskStatus(PersonView):
    @extend_schema(responses={200: dict}, operation_id="desk_status")
    def get(self, request: Request) -> Response:
        """How much waits for the caller, and their own day."""
        user = self.person(request)
        project = project_for(user, request.query_params.get("project"))
        roles = roles_for(user, project, request.query_params.get("role"))
        return Response(selectors.desk_status(project_id=project.pk, annotator_id=user.pk, role=roles[0]))


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


def roles_for(user: User, project: Project, asked: str | None) -> list[str]:
    """The slots a person may claim; with `asked` that role alone, 403 when it is not theirs."""
    roles = services.slot_roles(user_id=user.pk, project_id=project.pk)
    if asked is None:
        return roles
    if asked not in roles:
        raise Problem(403, "missing-role", f"This needs the role {asked}. Ask a lead of the project for it.")
    return [asked]


def leased(lease: queue.Lease) -> dict[str, Any]:
    """A lease with what it is on."""
    task = LabelTask.objects.select_related("inquiry", "suggestion").get(pk=lease.task_id)
    return {
        "task": selectors.task_payload(task, role=lease.role, annotator_id=lease.annotator_id),
        "lease": {"token": str(lease.token), "expires_at": lease.expires_at, "expires_in": seconds_until(lease.expires_at)},
    }  # fmt: skip


def in_hand(user: User, task: LabelTask, role: str) -> dict[str, Any]:
    """The lease on what the caller has prefetched: it is in hand now, and for longer."""
    lease = queue.promote_reserved(
        project_id=task.project_id, annotator_id=user.pk, role=role, seconds=task.project.lease_seconds
    )
    if lease is None:
        return {"next": None}
    left = seconds_until(lease.expires_at)
    return {
        "next": {"task": lease.task_id, "token": str(lease.token), "expires_at": lease.expires_at, "expires_in": left}
    }


def seconds_until(moment: datetime) -> int:
    """For clients whose clock is wrong."""
    return max(round((moment - timezone.now()).total_seconds()), 0)


def own_task(user: User, task_id: int) -> LabelTask:
    projects = Membership.objects.filter(user=user).values("project_id")
    task = LabelTask.objects.filter(pk=task_id, project_id__in=projects).select_related("project").first()
    if task is None:
        raise not_found("task")
    services.slot_roles(user_id=user.pk, project_id=task.project_id)
    return task
