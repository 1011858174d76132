"""Use cases of serving/: answering an inquiry. Compute first, then write: no transaction is open over an inference."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
from django.db import IntegrityError, transaction

from feedback import outbox, privacy
from feedback import services as feedback_services
from feedback.idempotency import Key, Replay, conflict, lock_or_refuse
from feedback.masking import mask
from feedback.models import Fold, Inquiry, Status
from feedback.problems import not_found
from labeling import services as labeling_services
from labeling.models import Escalation, TaskKind
from serving import engine, policies
from serving.engine import Desk, Prediction
from serving.models import DecisionRecord, Embedding
from serving.policy import Choice
from serving.routing import Decision, decide
from serving.served import served

_draws = random.SystemRandom()


def predict(*, project_id: int, texts: Sequence[str], locales: Sequence[str]) -> list[dict[str, Any]]:
    """The answers that these texts would get, without storing anything."""
    desk = served.desk(project_id)
    predictions = served.predict(desk, [mask(t, desk.order_templates).text for t in texts], locales)
    return [_preview(desk, p, locale) for p, locale in zip(predictions, locales, strict=True)]


def _preview(desk: Desk, p: Prediction, locale: str) -> dict[str, Any]:
    """What would be answered: nothing is explored and no audit drawn."""
    decision = _decide(desk, p, draw=1.0)
    return _answer(desk, p, decision, locale, _shown(desk, p, decision, locale, None, explore=False))


def answer_inquiry(
    *, project_id: int, app_id: int | None, new: feedback_services.NewInquiry, key: Key | None = None
) -> Replay:
    """Answer and store an inquiry; the same external_id or Idempotency-Key with the same body gets the same answer."""
    if earlier := _earlier(project_id, new) or (key and key.find()):
        return earlier
    desk = served.desk(project_id)
    new = _without_personal_data(new, desk.order_templates)
    prediction = served.predict(desk, [new.text], [new.locale])[0]
    decision = _decide(desk, prediction, draw=_draws.random())
    shown = _shown(desk, prediction, decision, new.locale, new.metadata)
    try:
        with transaction.atomic():
            if new.external_id is not None:
                lock_or_refuse(f"inquiry\0{project_id}\0{new.external_id}")
            if earlier := _earlier(project_id, new) or (key and key.begin()):
                return earlier
            body = _write(desk, app_id, new, prediction, decision, shown)
            if key is not None:
                key.keep(201, body)
    except IntegrityError:
        if earlier := _earlier(project_id, new):
            return earlier
        raise
    return Replay(201, body)


def _without_personal_data(
    new: feedback_services.NewInquiry, templates: tuple[str, ...]
) -> feedback_services.NewInquiry:
    """From here on nothing sees the originals but the vault. `request_sha` stays that of the request as it was sent."""
    masked = mask(new.text, templates)
    return replace(new, text=masked.text, masked=masked, metadata=privacy.mask_values(new.metadata, templates))


def _earlier(project_id: int, new: feedback_services.NewInquiry) -> Replay | None:
    if new.external_id is None:
        return None
    known = (
        Inquiry.objects.filter(project_id=project_id, external_id=new.external_id).select_related("decision").first()
    )
    if known is None:
        return None
    if bytes(known.request_sha) != new.request_sha:
        raise conflict("external_id", new.external_id)
    return Replay(200, msgspec.json.encode(known.decision.answer))


def _decide(desk: Desk, p: Prediction, *, draw: float) -> Decision:
    category = desk.categories.get(p.category) if p.category else None
    return decide(
        desk.policy, category=category.key if category else None, confidence=p.confidence, sentiment=p.sentiment,
        high_risk=category.high_risk if category else False, draw=draw,
    )  # fmt: skip


def _shown(
    desk: Desk, p: Prediction, decision: Decision, locale: str, metadata: dict[str, Any] | None, *, explore: bool = True
) -> Choice | None:
    """What the reply policy chooses where the model answers; None: the category's reply."""
    if decision.decision != "auto":
        return None
    return policies.choose(project_id=desk.project_id, p=p, locale=locale, metadata=metadata, explore=explore)


def _answer(desk: Desk, p: Prediction, decision: Decision, locale: str, shown: Choice | None) -> dict[str, Any]:
    """What the caller is told. Whether the audit drew the inquiry is not: it must change nothing."""
    reply = engine.ReplyInfo(shown.reply, shown.text) if shown else None
    if reply is None and p.category and decision.decision == "auto":
        reply = desk.reply_to(p.category, locale)
    return {
        "category": p.category, "confidence": round(p.confidence, 4), "probabilities": p.probabilities,
        "sentiment": p.sentiment, "decision": decision.decision, "reasons": list(decision.reasons),
        "reply": reply and {"id": reply.id, "text": reply.text}, "task": None, "escalation": None, "model": p.model_name,
    }  # fmt: skip


def _write(
    desk: Desk,
    app_id: int | None,
    new: feedback_services.NewInquiry,
    p: Prediction,
    decision: Decision,
    shown: Choice | None,
) -> bytes:
    """Inquiry, decision, embedding, task, escalation and event, in the caller's transaction; the answer as JSON."""
    answer = _answer(desk, p, decision, new.locale, shown)
    category_id = desk.categories[p.category].id if p.category else None
    sure = decision.decision == "auto"
    inquiry = feedback_services.record_inquiry(
        project_id=desk.project_id, app_id=app_id, new=new, status=Status.ANSWERED if sure else Status.WAITING,
        category_id=category_id, reply_id=answer["reply"]["id"] if answer["reply"] else None,
        model=p.model_name,
    )  # fmt: skip
    if shown is not None:
        policies.record(shown, inquiry)
    Embedding.objects.create(inquiry=inquiry, encoder_sha=p.encoder_sha, vector=engine.to_bytes(p.embedding))
    answer = {"id": str(inquiry.pk), **answer}
    task_id = _open_task(desk, inquiry, p, decision, category_id)
    answer["task"] = task_id if decision.label else None
    if decision.escalate:
        answer["escalation"] = labeling_services.open_escalation(
            inquiry=inquiry, reasons=list(decision.reasons), sentiment=p.sentiment
        ).pk
    DecisionRecord.objects.create(
        inquiry=inquiry, model_id=p.model_id, model_name=p.model_name, delta=p.delta, encoder_sha=p.encoder_sha,
        category_id=category_id, confidence=p.confidence, probabilities=p.probabilities, sentiment=p.sentiment, decision=decision.decision,
        reasons=list(decision.reasons), audit=decision.audit, propensity=desk.policy.audit_rate, answer=answer,
    )  # fmt: skip
    outbox.publish(kind="inquiry.decided", project_id=desk.project_id, payload={"inquiry": str(inquiry.pk)})
    return msgspec.json.encode(answer)


def _open_task(desk: Desk, inquiry: Inquiry, p: Prediction, decision: Decision, category_id: int | None) -> int | None:
    if decision.audit:
        # A uniform priority spreads audit tasks evenly through a queue that is ordered by rank.
        task = labeling_services.open_task(
            inquiry=inquiry, kind=TaskKind.AUDIT, overlap=desk.overlap, priority=_draws.random(), reason={"rule": "audit"},
            propensity=desk.policy.audit_rate,
        )  # fmt: skip
    elif decision.label:
        # Selection picks from the train fold only (DESIGN §5.3): the others wait at the end of the queue.
        priority = 1.0 - p.margin if inquiry.fold == Fold.TRAIN else -1.0
        task = labeling_services.open_task(
            inquiry=inquiry, kind=TaskKind.SELECTION, overlap=desk.overlap, priority=priority, reason=_why(p),
            suggestion_id=category_id,
        )  # fmt: skip
    else:
        return None
    return task.pk


def _why(p: Prediction) -> dict[str, Any]:
    """Why a person is asked, as data: the two most probable categories and their shares."""
    top = list(p.probabilities.items())[:2]
    return {"rule": "margin", "between": [{"category": c, "share": round(v, 3)} for c, v in top]}


def escalate(*, project_id: int, inquiry_id: uuid.UUID, reason: str) -> Escalation:
    """An app asks for a person. A second call returns the escalation that is already open."""
    with transaction.atomic():
        inquiry = Inquiry.objects.select_for_update().filter(pk=inquiry_id, project_id=project_id).first()
        if inquiry is None:
            raise not_found("inquiry")
        Inquiry.objects.filter(pk=inquiry.pk, status=Status.ANSWERED).update(status=Status.WAITING)
        return labeling_services.open_escalation(
            inquiry=inquiry,
            reasons=[{"code": "app", "detail": mask(reason).text or "The app asked for a person."}],
        )
