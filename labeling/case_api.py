"""Cases over HTTP: to read for apps and agents, to work on for agents."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.access import IsPerson, readable_project
from feedback.models import Membership, Project, User
from feedback.problems import Problem, invalid, not_found
from feedback.rest import StrictSerializer
from feedback.visits import AGENTS
from labeling import case_resolving, escalations
from labeling.case_lists import story
from labeling.case_models import CaseEntry, EntryKind, Level, Outcome
from labeling.escalations import Hand
from labeling.models import Escalation, EscalationState

MAX_PAGE = 200


class SeenIn(StrictSerializer):
    """`version` is that of the case as the caller saw it: another one by now answers 409."""

    version = serializers.IntegerField(min_value=1)


class AssignIn(SeenIn):
    assignee = serializers.CharField(max_length=150, required=False, allow_null=True)


class SnoozeIn(SeenIn):
    until = serializers.DateTimeField(allow_null=True)


class PriorityIn(SeenIn):
    level = serializers.ChoiceField(Level.choices)


class NoteIn(StrictSerializer):
    text = serializers.CharField(max_length=8000, trim_whitespace=False)


class ReplyIn(SeenIn):
    text = serializers.CharField(max_length=8000, trim_whitespace=False)


class ResolveIn(SeenIn):
    category = serializers.SlugField(max_length=100)
    outcome = serializers.ChoiceField(Outcome.choices, default=Outcome.ANSWERED)
    reply = serializers.CharField(max_length=8000, default="", allow_blank=True, trim_whitespace=False)
    prefer = serializers.BooleanField(default=True)
    guideline = serializers.CharField(max_length=8000, default="", allow_blank=True)
    block_model = serializers.BooleanField(default=False)


def _must_be_agent(user: User, project_id: int) -> None:
    if not Membership.objects.filter(user=user, project_id=project_id, role__in=AGENTS).exists():
        raise Problem(
            403, "missing-role", "Cases are for agents, leads and admins. Ask a lead of the project for a role."
        )


class Escalations(APIView):
    @extend_schema(
        operation_id="escalations",
        responses={200: dict},
        parameters=[OpenApiParameter(n, str) for n in ("project", "state", "level", "assignee", "limit", "cursor")],
    )
    def get(self, request: Request) -> Response:
        """The project's cases, the open ones most urgent first; `next` is the cursor of the following page."""
        project = readable_project(request, scope="inquiries:read")
        if isinstance(request.user, User):
            _must_be_agent(request.user, project.pk)
        given = request.query_params
        state = _one_of(given.get("state", EscalationState.OPEN), EscalationState.values, "state")
        limit = _limit(given.get("limit"))
        rows = list(_after(_chosen(request, project, state), state, given.get("cursor"))[: limit + 1])
        more = len(rows) > limit
        cursor = _cursor(rows[limit - 1], state) if more else None
        return Response({"escalations": [as_json(c) for c in rows[:limit]], "next": cursor})


def _chosen(request: Request, project: Project, state: str) -> QuerySet[Escalation]:
    rows = Escalation.objects.filter(project=project, state=state).select_related("inquiry", "assignee", "category")
    if level := request.query_params.get("level"):
        rows = rows.filter(level=_one_of(level, Level.values, "level"))
    if assignee := request.query_params.get("assignee"):
        rows = rows.filter(assignee=None) if assignee == "none" else rows.filter(assignee__username=assignee)
    return rows


def _after(rows: QuerySet[Escalation], state: str, cursor: str | None) -> QuerySet[Escalation]:
    """Keyset paging: a page costs the same wherever it lies, and none is skipped while cases come and go."""
    resolved = state == EscalationState.RESOLVED
    rows = rows.order_by("-resolved_at", "-pk") if resolved else rows.order_by("standing", "pk")
    if not cursor:
        return rows
    try:
        moment, pk = base64.urlsafe_b64decode(cursor.encode()).decode().split("|")
        at, key = datetime.fromisoformat(moment), int(pk)
    except (ValueError, binascii.Error) as error:
        raise invalid("cursor", "Send the `next` of an earlier answer, or no cursor.") from error
    if state == EscalationState.RESOLVED:
        return rows.filter(Q(resolved_at__lt=at) | Q(resolved_at=at, pk__lt=key))
    return rows.filter(Q(standing__gt=at) | Q(standing=at, pk__gt=key))


def _cursor(case: Escalation, state: str) -> str:
    at = case.resolved_at if state == EscalationState.RESOLVED else case.standing
    assert at is not None
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{case.pk}".encode()).decode()


def _one_of(given: str, known: list[str], field: str) -> str:
    if given not in known:
        raise invalid(field, f"Choose one of {', '.join(known)}.")
    return given


def _limit(given: str | None) -> int:
    if given is None:
        return 50
    if not given.isascii() or not given.isdigit() or not 0 < int(given[:9]) <= MAX_PAGE:
        raise invalid("limit", f"The limit is a number from 1 to {MAX_PAGE}.")
    return int(given)


def as_json(case: Escalation) -> dict[str, Any]:
    """A case as the API shows it; the customer's text stays with the inquiry."""
    return {
        "id": case.pk, "inquiry": str(case.inquiry_id), "external_id": case.inquiry.external_id, "state": case.state,
        "level": case.level, "high_risk": case.high_risk, "reasons": case.reasons, "version": case.version,
        "assignee": case.assignee and case.assignee.username, "opened_at": case.opened_at, "snoozed_until": case.snoozed_until,
        "first_due_at": case.first_due_at, "resolve_due_at": case.resolve_due_at, "first_response_at": case.first_response_at,
        "first_breached_at": case.first_breached_at, "resolve_breached_at": case.resolve_breached_at,
        "resolved_at": case.resolved_at, "outcome": case.outcome or None, "category": case.category and case.category.key,
        "reply": case.reply_text or None,
    }  # fmt: skip


def entry_json(entry: CaseEntry) -> dict[str, Any]:
    author = entry.author.username if entry.author else None
    plain = {"id": entry.pk, "kind": entry.kind, "text": entry.text, "data": entry.data}
    return {**plain, "author": author, "at": entry.created_at}


class EscalationDetail(APIView):
    @extend_schema(operation_id="escalation", responses={200: dict})
    def get(self, request: Request, case_id: int) -> Response:
        """One case with what was done with it; an app sees the replies, agents the notes too."""
        case = _visible(request, case_id)
        entries = [e for e in story(case) if isinstance(request.user, User) or e.kind == EntryKind.REPLY]
        return Response(as_json(case) | {"entries": [entry_json(e) for e in entries]})


def _visible(request: Request, case_id: int) -> Escalation:
    """The case, where the caller's key or membership reaches it."""
    if not isinstance(request.user, User):
        return escalations.find(project_id=readable_project(request, scope="inquiries:read").pk, case_id=case_id)
    mine = Membership.objects.filter(user=request.user).values("project_id")
    case = Escalation.objects.filter(pk=case_id, project_id__in=mine).first()
    if case is None:
        raise not_found("escalation")
    _must_be_agent(request.user, case.project_id)
    return escalations.find(project_id=case.project_id, case_id=case_id)


class CaseAction(APIView):
    """One action of an agent on one case: `shape` is what is sent, `act` what is done."""

    permission_classes = [IsPerson]
    shape: type[StrictSerializer] = SeenIn

    def answer(self, request: Request, case_id: int, status: int = 200) -> Response:
        assert isinstance(request.user, User)
        case = _visible(request, case_id)
        given = self.shape(data=request.data)
        given.is_valid(raise_exception=True)
        v = given.validated_data
        self.act(Hand(case.project_id, case.pk, v.get("version", case.version), request.user.pk), v)
        return Response(as_json(_visible(request, case_id)), status=status)

    def act(self, hand: Hand, v: dict[str, Any]) -> None:
        raise Problem(405, "method-not-allowed", "There is no such action.")


class EscalationAssign(CaseAction):
    shape = AssignIn

    @extend_schema(request=AssignIn, responses={200: dict}, operation_id="escalation_assign")
    def post(self, request: Request, case_id: int) -> Response:
        """Give the case to `assignee` (a user name), to the caller where none is named, or with null to nobody."""
        return self.answer(request, case_id)

    def act(self, hand: Hand, v: dict[str, Any]) -> None:
        to_id: int | None = hand.agent_id
        if "assignee" in v:
            to_id = v["assignee"] and (
                User.objects.filter(username=v["assignee"]).values_list("pk", flat=True).first() or 0
            )
        escalations.assign(hand, to_id=to_id)


class EscalationSnooze(CaseAction):
    shape = SnoozeIn

    @extend_schema(request=SnoozeIn, responses={200: dict}, operation_id="escalation_snooze")
    def post(self, request: Request, case_id: int) -> Response:
        """Set the case aside until a moment; with null it is back now."""
        return self.answer(request, case_id)

    def act(self, hand: Hand, v: dict[str, Any]) -> None:
        escalations.snooze(hand, until=v["until"])


class EscalationPriority(CaseAction):
    shape = PriorityIn

    @extend_schema(request=PriorityIn, responses={200: dict}, operation_id="escalation_priority")
    def post(self, request: Request, case_id: int) -> Response:
        """Set the priority; place in the list and clocks follow."""
        return self.answer(request, case_id)

    def act(self, hand: Hand, v: dict[str, Any]) -> None:
        escalations.set_level(hand, level=v["level"])


class EscalationNote(CaseAction):
    shape = NoteIn

    @extend_schema(request=NoteIn, responses={201: dict}, operation_id="escalation_note")
    def post(self, request: Request, case_id: int) -> Response:
        """A word to colleagues; the customer never sees it."""
        return self.answer(request, case_id, status=201)

    def act(self, hand: Hand, v: dict[str, Any]) -> None:
        escalations.note(project_id=hand.project_id, case_id=hand.case_id, agent_id=hand.agent_id, text=v["text"])


class EscalationReply(CaseAction):
    shape = ReplyIn

    @extend_schema(request=ReplyIn, responses={201: dict}, operation_id="escalation_reply")
    def post(self, request: Request, case_id: int) -> Response:
        """Tell the customer something and keep the case open."""
        return self.answer(request, case_id, status=201)

    def act(self, hand: Hand, v: dict[str, Any]) -> None:
        case_resolving.reply(hand, text=v["text"])


class EscalationResolve(CaseAction):
    shape = ResolveIn

    @extend_schema(request=ResolveIn, responses={200: dict}, operation_id="escalation_resolve")
    def post(self, request: Request, case_id: int) -> Response:
        """Close the case: the category becomes a label, the reply goes to the app."""
        return self.answer(request, case_id)

    def act(self, hand: Hand, v: dict[str, Any]) -> None:
        given = {k: value for k, value in v.items() if k != "version"}
        case_resolving.resolve(hand, how=case_resolving.Resolution(**given))
