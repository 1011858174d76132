"""Topics over HTTP: what customers are saying, and what people do with it."""

from __future__ import annotations

from typing import Any

import msgspec
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback import jobs
from feedback.access import managed_project, readable_project
from feedback.http import decode_parsed
from feedback.jobs_api import job_payload
from feedback.models import User
from feedback.problems import invalid
from learning import topic_acts, topic_selectors
from learning.models import Topic
from learning.topic_tasks import KIND

READ, MANAGE = "labels:read", "models:admin"


class TopicChange(msgspec.Struct, forbid_unknown_fields=True):
    """What is given is changed; an empty owner is nobody."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    notes: str | msgspec.UnsetType = msgspec.UNSET
    owner: str | msgspec.UnsetType | None = msgspec.UNSET
    pinned: bool | msgspec.UnsetType = msgspec.UNSET
    muted: bool | msgspec.UnsetType = msgspec.UNSET


class Into(msgspec.Struct, forbid_unknown_fields=True):
    """The topic that absorbs."""

    into: int


class Amount(msgspec.Struct, forbid_unknown_fields=True):
    """How many texts at most."""

    count: int = 50


class NewCategory(msgspec.Struct, forbid_unknown_fields=True):
    """The category to be made."""

    key: str
    name: str
    description: str = ""


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """Which run: the daily one, or everything anew; a seed makes it one of its own."""

    refit: bool = False
    seed: int | None = None


def _by(request: Request) -> int | None:
    return request.user.pk if isinstance(request.user, User) else None


class Topics(APIView):
    @extend_schema(responses={200: dict}, operation_id="topics")
    def get(self, request: Request) -> Response:
        """A project's living topics, pinned ones first and muted ones last, then by size."""
        project = readable_project(request, scope=READ)
        found = topic_selectors.listed(project_id=project.pk)
        return Response({"topics": [payload(t) for t in found]})


class TopicRuns(APIView):
    @extend_schema(request={"application/json": dict}, responses={202: dict}, operation_id="topics_run")
    def post(self, request: Request) -> Response:
        """Find topics now: `{"refit": true}` clusters all texts anew, else only what is new. The answer is the job."""
        project = managed_project(request, scope=MANAGE)
        given = decode_parsed(request.data, Wanted)
        if given.seed is not None and not 0 <= given.seed < 2**20:
            raise invalid("seed", "A seed is a number from 0 to 1048575.")
        params = {"refit": given.refit} | ({} if given.seed is None else {"seed": given.seed})
        return Response(job_payload(jobs.enqueue(kind=KIND, project_id=project.pk, params=params)), status=202)


class OneTopic(APIView):
    @extend_schema(responses={200: dict}, operation_id="topic")
    def get(self, request: Request, topic: int) -> Response:
        """A topic with its typical texts and its history; the number of an absorbed one leads to its heir."""
        project = readable_project(request, scope=READ)
        found = topic_acts.living(project_id=project.pk, number=topic)
        events = [
            {"kind": e.kind, "others": e.others, "detail": e.detail, "at": e.at, "by": e.actor.get_username() if e.actor else None}
            for e in topic_selectors.history(found)
        ]  # fmt: skip
        return Response({**payload(found), "texts": topic_selectors.typical(found), "history": events})

    @extend_schema(request={"application/json": dict}, responses={200: dict}, operation_id="topic_change")
    def patch(self, request: Request, topic: int) -> Response:
        """Change `name`, `notes`, `owner` (a member's user name, null for nobody), `pinned` or `muted`."""
        project = managed_project(request, scope=MANAGE)
        fields = {
            k: v
            for k, v in msgspec.structs.asdict(decode_parsed(request.data, TopicChange)).items()
            if v is not msgspec.UNSET
        }
        if "owner" in fields:
            fields["owner_id"] = _member(fields.pop("owner"))
        changed = topic_acts.change(project_id=project.pk, number=topic, fields=fields, by=_by(request))
        return Response(payload(changed))


def _member(name: str | None) -> int | None:
    if name is None:
        return None
    found = User.objects.filter(username=name).values_list("pk", flat=True).first()
    return -1 if found is None else found  # nobody is a member: refused like a stranger


class TopicMerge(APIView):
    @extend_schema(request={"application/json": dict}, responses={200: dict}, operation_id="topic_merge")
    def post(self, request: Request, topic: int) -> Response:
        """Move its texts into another topic, which is its heir: `{"into": 7}`."""
        project = managed_project(request, scope=MANAGE)
        into = decode_parsed(request.data, Into).into
        return Response(payload(topic_acts.merge(project_id=project.pk, number=topic, into=into, by=_by(request))))


class TopicSplit(APIView):
    @extend_schema(request=None, responses={202: dict}, operation_id="topic_split")
    def post(self, request: Request, topic: int) -> Response:
        """Split a topic in two; the larger part keeps the number. The answer is the job."""
        project = managed_project(request, scope=MANAGE)
        return Response(job_payload(topic_acts.split(project_id=project.pk, number=topic, by=_by(request))), status=202)


class TopicLabel(APIView):
    @extend_schema(request={"application/json": dict}, responses={200: dict}, operation_id="topic_label")
    def post(self, request: Request, topic: int) -> Response:
        """Put up to `count` (50) inquiries of a topic first in the labeling queue: the most typical without a label."""
        project = managed_project(request, scope=MANAGE)
        most = decode_parsed(request.data, Amount).count
        sent = topic_acts.send_to_labeling(project_id=project.pk, number=topic, most=most, by=_by(request))
        return Response({"tasks": sent})


class TopicCategory(APIView):
    @extend_schema(request={"application/json": dict}, responses={201: dict}, operation_id="topic_category")
    def post(self, request: Request, topic: int) -> Response:
        """Make a category of a topic (`key`, `name`, `description`) and send its texts to labeling; no text is copied."""
        project = managed_project(request, scope=MANAGE)
        given = msgspec.structs.asdict(decode_parsed(request.data, NewCategory))
        made = topic_acts.make_category(project_id=project.pk, number=topic, **given, by=_by(request))
        return Response({"category": made.key, "name": made.name}, status=201)


def payload(t: Topic) -> dict[str, Any]:
    return {
        "number": t.number, "name": t.name, "keywords": t.keywords, "size": t.size, "growth": t.growth, "growth_z": t.growth_z,
        "sentiment": t.sentiment, "negative": {"value": t.negative, "low": t.negative_low, "high": t.negative_high},
        "noise_share": t.noise_share, "trend": t.trend, "notes": t.notes, "owner": t.owner.get_username() if t.owner else None,
        "pinned": t.pinned, "muted": t.muted, "born_at": t.born_at, "encoder": t.encoder_sha[:12],
    }  # fmt: skip
