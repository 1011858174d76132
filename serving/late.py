"""Answers that come late: a person was asked, nobody has had the time, and a new version is sure (docs/decisions/0065).

The version decides by the rules of an arrival: threshold, risk, tone, reply. What it answers is answered as if it had arrived
now, and the task is retired; whatever it would hand to a person stays with the people who have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from feedback.models import Inquiry, Status
from feedback.services import answer_late
from labeling import retiring
from labeling.models import LabelTask
from serving import engine, policies, services
from serving.embeddings import space_of
from serving.engine import Desk, Prediction, ServedHead
from serving.models import DecisionRecord, Embedding, LateAnswer, ReplyShown
from serving.served import served

AT_ONCE = 100  # tasks in one transaction


def answer_sure(
    *,
    project_id: int,
    encoder_sha: str,
    tasks: Sequence[int],
    probabilities: NDArray[np.float32],
    report: Callable[[int], None] = lambda done: None,
) -> list[int]:
    """Answer the inquiries behind those of these open tasks of which the version in production is sure, and retire the tasks.

    ``probabilities`` [n, C] are its head's, one row per task. Returns the ids of the retired tasks. In transactions of `AT_ONCE`
    tasks, each whole or not at all; again is safe. Without a version in production nothing is answered: category texts alone are
    no reason to take an inquiry from a person.
    """
    desk = served.desk(project_id)
    encoder = served.encoder_by_sha(encoder_sha)
    head = served.head(desk, encoder)
    if head.model_id is None or probabilities.shape != (len(tasks), len(head.categories)):
        return []
    sure = np.flatnonzero(_may_answer(desk, head, probabilities))
    shares = {int(tasks[i]): probabilities[i] for i in sure.tolist()}
    retired: list[int] = []
    ids = sorted(shares)
    for start in range(0, len(ids), AT_ONCE):
        part = ids[start : start + AT_ONCE]
        with transaction.atomic():
            found = retiring.untouched(part)
            retired += [task.pk for task in found if _answered(desk, head, encoder_sha, task, shares[task.pk])]
        report(min(start + AT_ONCE, len(ids)))
    return retired


def _may_answer(desk: Desk, head: ServedHead, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows could be answered at all: a cheap look before a task is locked."""
    if not probabilities.shape[1]:
        return np.zeros(len(probabilities), dtype=bool)
    best = probabilities.argmax(axis=1)
    safe = np.array([c in desk.categories and not desk.categories[c].high_risk for c in head.categories], dtype=bool)
    sure = probabilities[np.arange(len(best)), best] >= desk.policy.confidence_threshold
    return np.asarray(safe[best] & sure, dtype=bool)


def _answered(desk: Desk, head: ServedHead, encoder_sha: str, task: LabelTask, p: NDArray[np.float32]) -> bool:
    """Answer one inquiry and retire its task; False where a person has to answer after all."""
    inquiry = task.inquiry
    prediction = _prediction(head, encoder_sha, inquiry, p)
    if prediction is None or prediction.category is None or ReplyShown.objects.filter(inquiry=inquiry).exists():
        return False
    unit = inquiry.customer or inquiry.external_id or str(inquiry.pk)
    outcome = services.outcome_of(desk, prediction, inquiry.locale, inquiry.metadata, draw=1.0, unit=unit)
    if outcome.decision.decision != "auto" or head.model_id is None:
        return False
    category = desk.categories[prediction.category]
    if inquiry.status == Status.WAITING:
        reply = outcome.reply
        answer_late(
            inquiry_id=inquiry.pk, category_id=category.id, reply_id=reply.id if reply else None, model=head.name
        )
        told = {"category": category.key, "confidence": round(prediction.confidence, 4)}
        LateAnswer.objects.create(
            inquiry=inquiry, project_id=desk.project_id, model_id=head.model_id, model_name=head.name, delta=head.delta,
            category_id=category.id, confidence=prediction.confidence,
            answer={**told, "reply": reply and {"id": reply.id, "text": reply.text}},
        )  # fmt: skip
        if outcome.chosen is not None:
            ReplyShown.objects.create(**policies.shown_columns(outcome.chosen, inquiry.pk))
    retiring.retire(task, {"model": head.name, "category": category.key, "confidence": round(prediction.confidence, 4)})
    return True


def _prediction(head: ServedHead, encoder_sha: str, inquiry: Inquiry, p: NDArray[np.float32]) -> Prediction | None:
    """What an arrival would be told, from the stored vector and the tone that was read then; None where neither is known."""
    record = DecisionRecord.objects.filter(inquiry=inquiry).first()
    stored = Embedding.objects.filter(inquiry=inquiry, encoder_sha=space_of(encoder_sha).stored_sha).first()
    if record is None or record.sentiment is None or stored is None:
        return None
    x = engine.from_bytes([stored.vector])[0]
    return engine.one(served.encoder_by_sha(encoder_sha), head, p, record.sentiment, x)
