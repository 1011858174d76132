"""POST /api/v1/inquiries, /predict, /predict/batch and GET /inquiries/{id}: the hot paths, in plain Django."""

from __future__ import annotations

import hashlib
import uuid
from typing import Annotated, Any

import msgspec
from django.http import HttpRequest, HttpResponse

from feedback import limits
from feedback.http import decode, endpoint, json_response, read_body
from feedback.idempotency import key_from_header
from feedback.keys import Principal
from feedback.models import Inquiry
from feedback.problems import invalid, not_found
from feedback.services import NewInquiry
from feedback.texts import MAX_CHARACTERS, fault_in
from serving import services

MAX_BATCH = 1_000
MAX_METADATA = 4_096
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_CHARACTERS)]
Short = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Locale = Annotated[str, msgspec.Meta(max_length=16, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")]


class InquiryIn(msgspec.Struct, forbid_unknown_fields=True):
    """An inquiry as an app posts it."""

    text: Text
    external_id: Short | None = None
    project: str | None = None
    locale: Locale | None = None
    customer: Short | None = None
    channel: Annotated[str, msgspec.Meta(max_length=50)] | None = None
    metadata: dict[str, Any] | None = None
    dry_run: bool = False


class PredictIn(msgspec.Struct, forbid_unknown_fields=True):
    """A text to be answered without being stored."""

    text: Text
    project: str | None = None
    locale: Locale | None = None


class BatchIn(msgspec.Struct, forbid_unknown_fields=True):
    """Texts to be answered at once."""

    inquiries: Annotated[list[PredictIn], msgspec.Meta(min_length=1, max_length=MAX_BATCH)]
    project: str | None = None


class EscalateIn(msgspec.Struct, forbid_unknown_fields=True):
    """Why a person is asked for."""

    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


@endpoint("POST", scope="inquiries:write")
def inquiries(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Answer and store an inquiry; with `dry_run` only answer."""
    body = read_body(request)
    given = decode(body, InquiryIn)
    _check_text(given.text, "text")
    principal.require_project(given.project)
    key = key_from_header(
        request.META.get("HTTP_IDEMPOTENCY_KEY"), project_id=principal.project_id, principal=principal.name,
        route="inquiries", body=body,
    )  # fmt: skip
    if given.dry_run:
        answers = services.predict(
            project_id=principal.project_id, texts=[given.text], locales=[given.locale or ""], metadata=_metadata(given.metadata)
        )  # fmt: skip
        return json_response(answers[0])
    new = NewInquiry(
        text=given.text, request_sha=hashlib.sha256(msgspec.json.encode(given)).digest(), external_id=given.external_id,
        locale=given.locale or "", customer=given.customer or "", channel=given.channel or "", metadata=_metadata(given.metadata),
    )  # fmt: skip
    answer = services.answer_inquiry(project_id=principal.project_id, app_id=principal.app_id, new=new, key=key)
    return HttpResponse(answer.body, status=answer.status, content_type="application/json")


@endpoint("POST", scope="inquiries:write")
def predict(request: HttpRequest, principal: Principal) -> HttpResponse:
    """The same answer without storing an inquiry."""
    given = decode(read_body(request), PredictIn)
    _check_text(given.text, "text")
    principal.require_project(given.project)
    return json_response(
        services.predict(project_id=principal.project_id, texts=[given.text], locales=[given.locale or ""])[0]
    )


@endpoint("POST", scope="inquiries:write")
def predict_batch(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Up to 1,000 answers at once, in the order of the inquiries."""
    given = decode(read_body(request), BatchIn)
    principal.require_project(given.project)
    if not 0 < len(given.inquiries) <= MAX_BATCH:
        raise invalid("inquiries", f"Send 1 to {MAX_BATCH:,} inquiries.")
    limits.spend(request, principal, len(given.inquiries) - 1)
    for i, one in enumerate(given.inquiries):
        _check_text(one.text, f"inquiries[{i}].text")
        principal.require_project(one.project)
    answers = services.predict(
        project_id=principal.project_id,
        texts=[o.text for o in given.inquiries],
        locales=[o.locale or "" for o in given.inquiries],
    )
    return json_response({"predictions": answers})


@endpoint("GET", scope="inquiries:read")
def inquiry(request: HttpRequest, principal: Principal, inquiry_id: uuid.UUID) -> HttpResponse:
    """Status, final category, reply and what happened to an inquiry."""
    known = Inquiry.objects.filter(pk=inquiry_id, project_id=principal.project_id)
    found = known.select_related("decision", "late", "category", "reply").first()
    if found is None:
        raise not_found("inquiry")
    return json_response(_story(found))


def _story(found: Inquiry) -> dict[str, Any]:
    history: list[dict[str, Any]] = [{"at": found.received_at, "what": "received"}]
    decision = getattr(found, "decision", None)  # an imported inquiry was never decided about
    if decision is not None:
        what = f"decided: {decision.decision}"
        history.append({"at": decision.decided_at, "what": what, "model": decision.model_name, "delta": decision.delta})
    reply: dict[str, Any] | None = {"id": found.reply.pk, "text": found.reply.text} if found.reply else None
    if (late := getattr(found, "late", None)) is not None:
        history.append({"at": late.answered_at, "what": "answered late", "model": late.model_name, "delta": late.delta})
    last = late or decision
    told = last.answer.get("reply") if last is not None else None
    if reply and told and told["id"] == reply["id"]:
        reply = told  # as it was sent, with its gaps filled in
    for escalation in found.escalations.order_by("opened_at"):
        history.append({"at": escalation.opened_at, "what": "escalated", "reasons": escalation.reasons})
        if escalation.first_response_at:
            history.append({"at": escalation.first_response_at, "what": "answered by a person"})
            reply = {"id": None, "text": escalation.reply_text}
        if escalation.resolved_at:
            history.append({"at": escalation.resolved_at, "what": f"resolved: {escalation.outcome}"})
    if label := getattr(found, "label", None):
        history.append({"at": label.settled_at, "what": f"labeled ({label.source})"})
    return {
        "id": found.pk, "external_id": found.external_id, "status": found.status, "category": found.category and found.category.key,
        "reply": reply, "decision": decision and decision.answer, "history": history,
    }  # fmt: skip


@endpoint("POST", scope="escalations:write")
def escalate(request: HttpRequest, principal: Principal, inquiry_id: uuid.UUID) -> HttpResponse:
    """Ask for a person."""
    body = read_body(request)
    given = decode(body, EscalateIn) if body.strip() else EscalateIn()
    escalation = services.escalate(project_id=principal.project_id, inquiry_id=inquiry_id, reason=given.reason)
    return json_response({"escalation": escalation.pk, "state": escalation.state}, status=201)


def _check_text(text: str, field: str) -> None:
    if fault := fault_in(text):
        raise invalid(field, f"The text {fault}.")


def _metadata(given: dict[str, Any] | None) -> dict[str, Any]:
    encoded = msgspec.json.encode(given or {})
    if len(encoded) > MAX_METADATA:
        raise invalid("metadata", f"The metadata may have up to {MAX_METADATA:,} bytes as JSON.")
    if b"\\u0000" in encoded:
        raise invalid("metadata", "The metadata holds a NUL character: remove it.")
    return given or {}
