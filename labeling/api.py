"""What people do at the queue beyond the next item and its answer (labeling/desk_api.py), over HTTP with session + CSRF."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.access import IsPerson, project_for
from feedback.models import Membership, Project, Role, User
from feedback.problems import Problem, invalid, not_found
from feedback.rest import StrictSerializer
from labeling import actions, days, queue, selectors, services
from labeling.desk_api import in_hand, leased
from labeling.models import LabelTask, SkipReason, SlotRole


class LeaseIn(StrictSerializer):
    token = serializers.UUIDField()


class ReleaseIn(LeaseIn):
    known_until = serializers.DateTimeField(required=False)


class SkipIn(LeaseIn):
    reason = serializers.ChoiceField(SkipReason.choices, default=SkipReason.NONE, allow_blank=True)


class EscalateIn(LeaseIn):
    detail = serializers.CharField(max_length=500, default="", allow_blank=True)


class ReturnIn(LeaseIn):
    category = serializers.SlugField(max_length=100)
    guideline = serializers.CharField(max_length=20_000)


class ClearIn(StrictSerializer):
    project = serializers.SlugField()
    person = serializers.CharField(max_length=150, required=False)


class FlagIn(StrictSerializer):
    on = serializers.BooleanField()


class PersonView(APIView):
    permission_classes = [IsPerson]

    def person(self, request: Request) -> User:
        assert isinstance(request.user, User)
        return request.user


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


class TaskReturn(PersonView):
    @extend_schema(request=ReturnIn, responses={200: dict}, operation_id="task_return")
    def post(self, request: Request, task_id: int) -> Response:
        """An expert amends the guideline of a category and has the task answered anew under it."""
        given = ReturnIn(data=request.data)
        given.is_valid(raise_exception=True)
        user, v = self.person(request), given.validated_data
        task = own_task(user, task_id)
        roles_for(user, task.project, SlotRole.EXPERT.value)
        version = actions.return_with_guideline(
            project_id=task.project_id, task_id=task.pk, expert_id=user.pk, token=v["token"], category=v["category"],
            guideline=v["guideline"],
        )  # fmt: skip
        return Response({"task": task.pk, "guideline": version.number} | in_hand(user, task, SlotRole.EXPERT))


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


class DeskHistory(PersonView):
    @extend_schema(responses={200: dict}, operation_id="desk_history")
    def get(self, request: Request) -> Response:
        """The caller's own answers, newest first; `next` goes into `before` for the page after."""
        user = self.person(request)
        project = project_for(user, request.query_params.get("project"))
        services.slot_roles(user_id=user.pk, project_id=project.pk)
        before = whole_number(request, "before", None, 2**63 - 1)
        limit = whole_number(request, "limit", 50, 200)
        assert limit is not None
        return Response(selectors.history(project_id=project.pk, annotator_id=user.pk, before=before, limit=limit))


class DeskStatistics(PersonView):
    @extend_schema(responses={200: dict}, operation_id="desk_statistics")
    def get(self, request: Request) -> Response:
        """The caller's own days: answers, skips and times."""
        user = self.person(request)
        project = project_for(user, request.query_params.get("project"))
        services.slot_roles(user_id=user.pk, project_id=project.pk)
        span = whole_number(request, "days", 30, 366)
        assert span is not None
        return Response(days.statistics_of(project_id=project.pk, annotator_id=user.pk, days=span))


class ClearLeases(PersonView):
    @extend_schema(request=ClearIn, responses={200: dict}, operation_id="queue_clear_leases")
    def post(self, request: Request) -> Response:
        """A lead or admin takes back what people hold: all of it, or one person's."""
        given = ClearIn(data=request.data)
        given.is_valid(raise_exception=True)
        project = project_for(self.person(request), given.validated_data["project"])
        must_lead(self.person(request), project)
        annotator_id = None
        if name := given.validated_data.get("person"):
            member = Membership.objects.filter(project=project, user__username=name).first()
            if member is None:
                raise invalid("person", f"{name!r} is not a member of this project.")
            annotator_id = member.user_id
        return Response({"cleared": queue.clear_leases(project_id=project.pk, annotator_id=annotator_id)})


def must_lead(user: User, project: Project) -> None:
    if not Membership.objects.filter(user=user, project=project, role__in=[Role.LEAD, Role.ADMIN]).exists():
        raise Problem(403, "missing-role", "This needs the role lead or admin in this project.")


def whole_number(request: Request, name: str, default: int | None, most: int) -> int | None:
    given = request.query_params.get(name)
    if given is None:
        return default
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:20]) <= most:
        raise invalid(name, f"{name} must be a whole number from 1 to {most}.")
    return int(given)


def roles_for(user: User, project: Project, asked: str | None) -> list[str]:
    """The slots a person may claim; with `asked` that role alone, 403 when it is not theirs."""
    roles = services.slot_roles(user_id=user.pk, project_id=project.pk)
    if asked is None:
        return roles
    if asked not in roles:
        raise Problem(403, "missing-role", f"This needs the role {asked}. Ask a lead of the project for it.")
    return [asked]


def own_task(user: User, task_id: int) -> LabelTask:
    projects = Membership.objects.filter(user=user).values("project_id")
    task = LabelTask.objects.filter(pk=task_id, project_id__in=projects).select_related("project").first()
    if task is None:
        raise not_found("task")
    services.slot_roles(user_id=user.pk, project_id=task.project_id)
    return task
