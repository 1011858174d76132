"""Webhooks over HTTP: for keys with models:admin, and for leads and admins who are signed in."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback import webhooks
from feedback.access import readable_project
from feedback.models import Membership, Notice, NoticeState, Project, Role, User, Webhook
from feedback.problems import Problem, not_found
from feedback.rest import StrictSerializer

SCOPE = "models:admin"
SHOWN = 100
PROJECT = OpenApiParameter("project", str, description="The project's slug; a key has only its own.")


class WebhookIn(StrictSerializer):
    url = serializers.CharField(max_length=2000)
    kinds = serializers.ListField(child=serializers.CharField(max_length=60), min_length=1, max_length=50)


class WebhookChange(StrictSerializer):
    active = serializers.BooleanField()


class WebhookOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    url = serializers.CharField()
    kinds = serializers.ListField(child=serializers.CharField())
    active = serializers.BooleanField()
    failures = serializers.IntegerField()
    open_until = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class WebhookMade(WebhookOut):
    secret = serializers.CharField()


class WebhooksOut(serializers.Serializer[Any]):
    webhooks = WebhookOut(many=True)
    kinds = serializers.ListField(child=serializers.CharField())


class NoticeOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    event = serializers.CharField()
    kind = serializers.CharField()
    state = serializers.ChoiceField(NoticeState.choices)
    attempts = serializers.IntegerField()
    status = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_blank=True)
    due_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    delivered_at = serializers.DateTimeField(allow_null=True)


class NoticesOut(serializers.Serializer[Any]):
    notices = NoticeOut(many=True)


class Replayed(serializers.Serializer[Any]):
    replayed = serializers.IntegerField()


def administered(request: Request) -> Project:
    """The project whose webhooks the caller may change."""
    project = readable_project(request, scope=SCOPE)
    if isinstance(request.user, User):
        roles = Membership.objects.filter(user=request.user, project=project, role__in=[Role.LEAD, Role.ADMIN])
        if not roles.exists():
            raise Problem(403, "missing-role", "Webhooks need the role lead or admin.")
    return project


class Webhooks(APIView):
    @extend_schema(responses={200: WebhooksOut}, parameters=[PROJECT], operation_id="webhooks")
    def get(self, request: Request) -> Response:
        """A project's webhooks, and the kinds of events there are."""
        rows = Webhook.objects.filter(project=administered(request)).order_by("pk")
        return Response({"webhooks": WebhookOut(rows, many=True).data, "kinds": sorted(webhooks.kinds)})

    @extend_schema(request=WebhookIn, responses={201: WebhookMade}, parameters=[PROJECT], operation_id="webhook_create")
    def post(self, request: Request) -> Response:
        """Add a webhook; its secret is shown in this answer alone."""
        project = administered(request)
        given = WebhookIn(data=request.data)
        given.is_valid(raise_exception=True)
        v = given.validated_data
        made, secret = webhooks.create(project_id=project.pk, url=v["url"], kinds_told=v["kinds"])
        return Response({**WebhookOut(made).data, "secret": secret}, status=201, headers={"Cache-Control": "no-store"})


class WebhookOne(APIView):
    @extend_schema(
        request=WebhookChange, responses={200: WebhookOut}, parameters=[PROJECT], operation_id="webhook_change"
    )
    def patch(self, request: Request, webhook_id: int) -> Response:
        """Stop a webhook, or let it go on; what waits is kept."""
        project = administered(request)
        given = WebhookChange(data=request.data)
        given.is_valid(raise_exception=True)
        changed = webhooks.set_active(
            project_id=project.pk, webhook_id=webhook_id, active=given.validated_data["active"]
        )
        return Response(WebhookOut(changed).data)

    @extend_schema(responses={204: None}, parameters=[PROJECT], operation_id="webhook_delete")
    def delete(self, request: Request, webhook_id: int) -> Response:
        """Remove a webhook with everything that waits for it."""
        webhooks.own(project_id=administered(request).pk, webhook_id=webhook_id).delete()
        return Response(status=204)


class WebhookRotate(APIView):
    @extend_schema(request=None, responses={200: WebhookMade}, parameters=[PROJECT], operation_id="webhook_rotate")
    def post(self, request: Request, webhook_id: int) -> Response:
        """A new secret; notices carry signatures with the old one too for a day."""
        changed, secret = webhooks.rotate_secret(project_id=administered(request).pk, webhook_id=webhook_id)
        return Response({**WebhookOut(changed).data, "secret": secret}, headers={"Cache-Control": "no-store"})


class WebhookNotices(APIView):
    @extend_schema(
        responses={200: NoticesOut}, operation_id="webhook_notices",
        parameters=[PROJECT, OpenApiParameter("state", str, enum=list(NoticeState.values), description="Only these.")],
    )  # fmt: skip
    def get(self, request: Request, webhook_id: int) -> Response:
        """The latest notices of a webhook, newest first."""
        hook = webhooks.own(project_id=administered(request).pk, webhook_id=webhook_id)
        rows = Notice.objects.filter(webhook=hook).order_by("-pk")
        if (state := request.query_params.get("state")) is not None:
            if state not in NoticeState.values:
                raise Problem(422, "invalid-field", f"Choose one of {', '.join(NoticeState.values)}.", field="state")
            rows = rows.filter(state=state)
        return Response({"notices": NoticeOut(rows[:SHOWN], many=True).data})


class WebhookReplay(APIView):
    @extend_schema(request=None, responses={200: Replayed}, parameters=[PROJECT], operation_id="webhook_replay")
    def post(self, request: Request, webhook_id: int) -> Response:
        """Send the dead notices of a webhook again."""
        project = administered(request)
        hook = webhooks.own(project_id=project.pk, webhook_id=webhook_id)
        return Response({"replayed": webhooks.replay(project_id=project.pk, webhook_id=hook.pk)})


class NoticeReplay(APIView):
    @extend_schema(request=None, responses={200: Replayed}, parameters=[PROJECT], operation_id="notice_replay")
    def post(self, request: Request, notice_id: int) -> Response:
        """Send one notice again, dead or delivered; it keeps its event id."""
        project = administered(request)
        if not Notice.objects.filter(pk=notice_id, webhook__project=project).exists():
            raise not_found("notice")
        return Response({"replayed": webhooks.replay(project_id=project.pk, notice_id=notice_id)})
