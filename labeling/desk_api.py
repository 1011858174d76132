"""The next item, its answer and the heartbeat: what an annotator's hands wait for, in plain views."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from feedback.http import decode, json_response, read_body
from feedback.models import User
from feedback.problems import Problem, not_found
from labeling import hot, queue, selectors, services
from labeling.models import LabelTask
from labeling.people import Caller, Place, person_endpoint

Key = Annotated[str, msgspec.Meta(max_length=100, pattern=r"^[-a-zA-Z0-9_]+$")]


class NextIn(msgspec.Struct, forbid_unknown_fields=True):
    project: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[-a-zA-Z0-9_]+$")] | None = None
    role: Literal["annotator", "expert"] | None = None
    prefetch: bool = False


class AnnotationIn(msgspec.Struct, forbid_unknown_fields=True):
    """`category` null: an expert finds that none fits."""

    token: uuid.UUID
    category: Key | None
    saw_suggestion: bool = False
    seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None = None


class LeaseIn(msgspec.Struct, forbid_unknown_fields=True):
    token: uuid.UUID


_PROJECT = "SELECT project_id FROM labeling_labeltask WHERE id = %(task)s"
LARGEST_ID = 2**63 - 1


@person_endpoint("POST")
def next_item(request: HttpRequest, caller: Caller) -> HttpResponse:
    """The caller's live lease, or a new one on the best open task; 204 when there is nothing to do.

    With `prefetch` it is the item after that one: a short reservation, in hand as soon as the first is answered.
    """
    given = decode(read_body(request) or b"{}", NextIn)
    place = caller.place(given.project)
    if place is None:
        raise not_found("project")
    lease = queue.claim(
        project_id=place.project_id, annotator_id=caller.pk, roles=_asked(place, given.role), reserve=given.prefetch,
        seconds=queue.RESERVE_SECONDS if given.prefetch else place.lease_seconds, gold_rate=place.gold_rate,
    )  # fmt: skip
    return HttpResponse(status=204) if lease is None else json_response(leased(lease))


@person_endpoint("POST")
def answer_item(request: HttpRequest, caller: Caller, task_id: int) -> HttpResponse:
    """Submit an answer on a lease; the same answer again gets the same reply."""
    given = decode(read_body(request), AnnotationIn)
    if task_id > LARGEST_ID:
        raise not_found("task")
    answer = services.Answer(
        task_id=task_id, annotator_id=caller.pk, token=given.token, category=given.category,
        saw_suggestion=given.saw_suggestion, seconds=given.seconds,
    )  # fmt: skip
    project_id, taken = services.take(roles={p.project_id: p.roles for p in caller.places}, answer=answer)
    body = {"annotation": taken.annotation_id, "task": task_id, "state": taken.state, "extra": taken.extra}
    following: dict[str, Any] = {"next": None}
    if taken.more_waits:
        seconds = caller.place_in(project_id).lease_seconds
        following = following_item(caller.pk, project_id, role=taken.role, seconds=seconds)
    return json_response(body | following, status=201)


@person_endpoint("POST")
def heartbeat(request: HttpRequest, caller: Caller, task_id: int) -> HttpResponse:
    """Keep a lease alive."""
    given = decode(read_body(request), LeaseIn)
    place = place_of(caller, task_id)
    expires = queue.extend(task_id=task_id, annotator_id=caller.pk, token=given.token, seconds=place.lease_seconds)
    if expires is None:
        raise services.lease_lost()
    return json_response({"lease": {"expires_at": expires, "expires_in": seconds_until(expires)}})


def place_of(caller: Caller, task_id: int) -> Place:
    """Where a task is; 404 for one that is not the caller's, 403 for somebody who does not label there."""
    found = hot.row(_PROJECT, {"task": task_id}) if task_id <= LARGEST_ID else None
    if found is None or found[0] not in caller.project_ids:
        raise not_found("task")
    place = caller.place_in(found[0])
    services.claimable(place.roles)
    return place


def _asked(place: Place, role: str | None) -> list[str]:
    roles = services.claimable(place.roles)
    if role is None:
        return roles
    if role not in roles:
        raise Problem(403, "missing-role", f"This needs the role {role}. Ask a lead of the project for it.")
    return [role]


def leased(lease: queue.Lease) -> dict[str, Any]:
    """A lease with what it is on."""
    return {
        "task": selectors.task_payload(task_id=lease.task_id, role=lease.role, annotator_id=lease.annotator_id),
        "lease": {"token": str(lease.token), "expires_at": lease.expires_at, "expires_in": seconds_until(lease.expires_at)},
    }  # fmt: skip


def in_hand(user: User, task: LabelTask, role: str) -> dict[str, Any]:
    """What follows an item that left the caller's hands."""
    return following_item(user.pk, task.project_id, role=role, seconds=task.project.lease_seconds)


def following_item(annotator_id: int, project_id: int, *, role: str, seconds: float) -> dict[str, Any]:
    """The lease on what the caller has prefetched: it is in hand now, and for longer."""
    lease = queue.promote_reserved(project_id=project_id, annotator_id=annotator_id, role=role, seconds=seconds)
    if lease is None:
        return {"next": None}
    left = seconds_until(lease.expires_at)
    return {
        "next": {"task": lease.task_id, "token": str(lease.token), "expires_at": lease.expires_at, "expires_in": left}
    }


def seconds_until(moment: datetime) -> int:
    """For clients whose clock is wrong."""
    return max(round((moment - timezone.now()).total_seconds()), 0)
