"""Use cases of serving/: answering an inquiry. Compute first, then write: no transaction is open over an inference."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from django.db import OperationalError, transaction

from feedback import privacy, recording
from feedback.idempotency import Key, Replay, conflict
from feedback.masking import mask
from feedback.models import Fold, Inquiry, Status
from feedback.problems import not_found
from feedback.recording import NewInquiry
from labeling import opening
from labeling import services as labeling_services
from labeling.models import Escalation, TaskKind
from labeling.opening import Wanted
from serving import engine, gauges, policies, writing
from serving.engine import Desk, Prediction, ReplyInfo
from serving.policy import Choice, filled, gaps_in
from serving.routing import Decision, decide, handed_over, left_open
from serving.served import served
from serving.writing import Story

_draws = random.SystemRandom()


def predict(
    *, project_id: int, texts: Sequence[str], locales: Sequence[str], metadata: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The answers that these texts would get, without storing anything. `metadata` fills the gaps of replies."""
    desk = served.desk(project_id)
    predictions = served.predict(desk, [mask(t, desk.order_templates).text for t in texts], locales)
    values = privacy.mask_values(metadata, desk.order_templates)
    return [_preview(desk, p, locale, values) for p, locale in zip(predictions, locales, strict=True)]


def _preview(desk: Desk, p: Prediction, locale: str, metadata: dict[str, Any] | None) -> dict[str, Any]:
    """What would be answered: nothing is explored and no audit drawn."""
    outcome = outcome_of(desk, p, locale, metadata, draw=1.0, explore=False)
    gauges.decided(desk, p, outcome.decision, stored=False)
    return _answer(p, outcome)


def answer_inquiry(*, project_id: int, app_id: int | None, new: NewInquiry, key: Key | None = None) -> Replay:
    """Answer and store an inquiry; the same external_id or Idempotency-Key with the same body gets the same answer."""
    if key and (earlier := key.find()):
        return earlier
    desk = served.desk(project_id)
    new = _without_personal_data(new, desk.order_templates)
    prediction = _answered(desk, new)
    outcome = outcome_of(desk, prediction, new.locale, new.metadata, draw=_draws.random(), unit=_unit(new))
    gauges.decided(desk, prediction, outcome.decision, stored=True)
    return _keep(_write(desk, app_id, new, prediction, outcome), new, key)


@dataclass(frozen=True)
class _Told:
    """What the caller is told about an inquiry, and the rows that keep it."""

    body: bytes
    story: Story
    case: Callable[[], None] | None  # opens the escalation, where there is one


def _keep(told: _Told, new: NewInquiry, key: Key | None) -> Replay:
    """Write it all, unless it was written before. Nothing else is asked of PostgreSQL by the common inquiry."""
    if key is not None:
        return _keep_once(told, new, key)
    stored = writing.store_with(told.story, told.case) if told.case else writing.store(told.story)
    return Replay(201, told.body) if stored else _earlier(told.story, new)


def _keep_once(told: _Told, new: NewInquiry, key: Key) -> Replay:
    with transaction.atomic():
        if earlier := key.begin():
            return earlier
        if not writing.store_with(told.story, told.case or _nothing):
            return _earlier(told.story, new)
        key.keep(201, told.body)
    return Replay(201, told.body)


def _answered(desk: Desk, new: NewInquiry) -> Prediction:
    """The model's answer, by the arm that the customer belongs to, and how long it took."""
    began = time.perf_counter()
    prediction = served.predict(desk, [new.text], [new.locale], [_unit(new)])[0]
    return replace(prediction, took_ms=round(1000 * (time.perf_counter() - began), 3))


def _unit(new: NewInquiry) -> str:
    """Who keeps to one arm of a rollout: the customer, else the inquiry itself."""
    return new.customer or new.external_id or uuid.uuid4().hex


def _nothing() -> None:
    pass


def _without_personal_data(new: NewInquiry, templates: tuple[str, ...]) -> NewInquiry:
    """From here on nothing sees the originals but the vault. `request_sha` stays that of the request as it was sent."""
    masked = mask(new.text, templates)
    return replace(new, text=masked.text, masked=masked, metadata=privacy.mask_values(new.metadata, templates))


def _earlier(story: Story, new: NewInquiry) -> Replay:
    """The answer that an inquiry of this external_id was given; 409 where it had another body."""
    same = Inquiry.objects.filter(project_id=story.inquiry["project_id"], external_id=new.external_id)
    known = same.select_related("decision").first()
    if known is None:
        raise OperationalError("an inquiry was erased while the same was stored again")
    decision = getattr(known, "decision", None)  # an imported inquiry was never decided about
    if bytes(known.request_sha) != new.request_sha or decision is None:
        raise conflict("external_id", str(new.external_id))
    return Replay(200, msgspec.json.encode(decision.answer))


def _decide(desk: Desk, p: Prediction, *, draw: float) -> Decision:
    category = desk.categories.get(p.category) if p.category else None
    return decide(
        desk.policy, category=category.key if category else None, confidence=p.confidence, sentiment=p.sentiment,
        high_risk=category.high_risk if category else False, draw=draw, unread=p.unread,
    )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """Who answers, with which reply, and by which choice of the reply policy."""

    decision: Decision
    reply: ReplyInfo | None = None
    chosen: Choice | None = None


def outcome_of(
    desk: Desk, p: Prediction, locale: str, metadata: dict[str, Any] | None, *, draw: float, explore: bool = True,
    unit: str = "",
) -> Outcome:  # fmt: skip
    """Where the model answers: what the reply policy chooses, else the category's reply, and a person where it has a gap."""
    decision = _decide(desk, p, draw=draw)
    if decision.decision != "auto" or p.category is None:
        return Outcome(decision)
    chosen = policies.choose(desk.shelf, p=p, locale=locale, metadata=metadata, explore=explore, unit=unit)
    if chosen is not None and chosen.reply is None:
        return Outcome(handed_over(decision, chosen.propensity), None, chosen)
    if chosen is not None and chosen.reply is not None:
        return Outcome(decision, ReplyInfo(chosen.reply, chosen.text), chosen)
    reply = desk.reply_to(p.category, locale)
    if reply is None:
        return Outcome(decision)
    text = filled(reply.text, metadata or {})
    if text is None:
        return Outcome(left_open(decision, gaps_in(reply.text, metadata or {})))
    return Outcome(decision, replace(reply, text=text))


def _answer(p: Prediction, outcome: Outcome) -> dict[str, Any]:
    """What the caller is told. Whether the audit drew the inquiry is not: it must change nothing."""
    decision, reply = outcome.decision, outcome.reply
    return {
        "category": p.category, "confidence": round(p.confidence, 4), "probabilities": p.probabilities,
        "sentiment": p.sentiment, "decision": decision.decision, "reasons": list(decision.reasons),
        "reply": reply and {"id": reply.id, "text": reply.text}, "task": None, "escalation": None, "model": p.model_name,
    }  # fmt: skip


def _write(desk: Desk, app_id: int | None, new: NewInquiry, p: Prediction, outcome: Outcome) -> _Told:
    """The rows of an inquiry, its embedding, task and decision record, and the answer as JSON. Each row in one place."""
    decision, answer = outcome.decision, _answer(p, outcome)
    category_id = desk.categories[p.category].id if p.category else None
    inquiry = recording.inquiry_columns(
        project_id=desk.project_id, app_id=app_id, new=new, model=p.model_name, category_id=category_id,
        status=Status.ANSWERED if decision.decision == "auto" else Status.WAITING,
        reply_id=answer["reply"]["id"] if answer["reply"] else None,
    )  # fmt: skip
    rows = recording.inquiry_rows(inquiry, new)
    answer = {"id": str(inquiry["id"]), **answer}
    if wanted := _task(desk, p, decision, inquiry["fold"]):
        rows |= opening.task_rows(
            wanted, desk.rules, project_id=desk.project_id, inquiry_id=inquiry["id"], locale=new.locale, now=inquiry["received_at"]
        )  # fmt: skip
        answer["task"] = rows["task"][0]["id"] if decision.label else None
    if decision.escalate:
        answer["escalation"] = opening.case_ids.take()
    if outcome.chosen is not None:
        rows["shown"] = [policies.shown_columns(outcome.chosen, inquiry["id"])]
    if not (p.teacher_sha or p.unread):
        vector = engine.to_bytes(p.embedding)
        rows["embedding"] = [{"inquiry_id": inquiry["id"], "encoder_sha": p.encoder_sha, "vector": vector}]
    rows["decision"] = [{
        "inquiry_id": inquiry["id"], "model_id": p.model_id, "model_name": p.model_name, "delta": p.delta,
        "encoder_sha": p.encoder_sha, "category_id": category_id, "confidence": p.confidence, "probabilities": p.probabilities,
        "sentiment": p.sentiment, "decision": decision.decision, "reasons": list(decision.reasons), "audit": decision.audit,
        "propensity": desk.policy.audit_rate, "answer": answer, "decided_at": inquiry["received_at"],
        "rollout_id": p.rollout_id, "arm": p.arm, "took_ms": p.took_ms,
    }]  # fmt: skip
    case = _case(inquiry, p, decision, answer["escalation"]) if decision.escalate else None
    return _Told(msgspec.json.encode(answer), Story(rows, named=new.external_id is not None), case)


def _case(inquiry: dict[str, Any], p: Prediction, decision: Decision, case_id: int) -> Callable[[], None]:
    def opened() -> None:
        labeling_services.open_escalation(
            inquiry=Inquiry(**inquiry), reasons=list(decision.reasons), sentiment=p.sentiment, case_id=case_id
        )

    return opened


def _task(desk: Desk, p: Prediction, decision: Decision, fold: int) -> Wanted | None:
    if decision.audit:
        # A uniform priority spreads audit tasks evenly through a queue that is ordered by rank.
        return Wanted(TaskKind.AUDIT, _draws.random(), {"rule": "audit"}, propensity=desk.policy.audit_rate)
    if decision.label:
        # Selection picks from the train fold only (DESIGN §5.3): the others wait at the end of the queue.
        priority = 1.0 - p.margin if fold == Fold.TRAIN else -1.0
        suggestion = desk.categories[p.category] if p.category else None
        return Wanted(TaskKind.SELECTION, priority, _why(p), suggestion)
    return None


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
