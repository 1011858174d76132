"""Answers that come late: a person was asked, nobody has had the time, and a new version is sure (docs/decisions/0065).

The version decides by the rules of an arrival: threshold, risk, tone, reply. What it answers is answered as if it had arrived
now, and the task is retired; whatever it would hand to a person stays with the people who have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from feedback.models import Fold
from feedback.services import LateReply, answer_late
from labeling import retiring
from labeling.models import LabelTask, TaskState
from serving import engine, policies, services
from serving.embeddings import space_of
from serving.encoder import Encoder
from serving.engine import CategoryInfo, Desk, Prediction, ServedHead
from serving.models import DecisionRecord, Embedding, LateAnswer, ReplyShown
from serving.served import served

AT_ONCE = 100  # tasks in one transaction
Floats = NDArray[np.float32]


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
            retired += _answer(desk, head, encoder, space_of(encoder_sha).stored_sha, found, shares)
        report(min(start + AT_ONCE, len(ids)))
    return retired


def encoders_of_late_answers(*, project_id: int) -> list[str]:
    """Encoder variants of the versions that have answered late."""
    found = LateAnswer.objects.filter(project=project_id).order_by()
    return sorted(set(found.values_list("model__encoder_sha", flat=True).distinct()))


def ask_about_doubted(*, project_id: int, encoder_sha: str, most: int) -> list[int]:
    """Open tasks anew that were retired because a version was sure, where the one that serves now is not: of the newest ``most``.

    The customer has an answer, perhaps a wrong one; what the model has come to doubt teaches it most. Returns the ids of the tasks.
    """
    desk = served.desk(project_id)
    head = served.head(desk, served.encoder_by_sha(encoder_sha))
    ids, x = answered(project_id=project_id, encoder_sha=encoder_sha, most=most)
    if head.model_id is None or not len(ids) or not head.categories:
        return []
    doubted = ids[head.head.predict(x).max(axis=1) < desk.policy.confidence_threshold]
    with transaction.atomic():
        return retiring.ask_again(task_ids=doubted.tolist(), priority=0.0)


def answered(*, project_id: int, encoder_sha: str, most: int) -> tuple[NDArray[np.int64], Floats]:
    """Ids [n] and unit vectors [n, d] of the newest ``most`` tasks of the train fold that were retired with a late answer."""
    rows = Embedding.objects.filter(
        encoder_sha=space_of(encoder_sha).stored_sha, inquiry__fold=Fold.TRAIN, inquiry__late__project=project_id,
        inquiry__task__state=TaskState.RETIRED,
    ).order_by("-inquiry__task__id")  # fmt: skip
    found = list(rows.values_list("inquiry__task__id", "vector")[:most])
    if not found:
        return np.empty(0, np.int64), np.zeros((0, served.encoder_by_sha(encoder_sha).dim), np.float32)
    return np.array([pk for pk, _ in found], np.int64), engine.from_bytes([vector for _, vector in found])


def _may_answer(desk: Desk, head: ServedHead, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows could be answered at all: a cheap look before a task is locked."""
    if not probabilities.shape[1]:
        return np.zeros(len(probabilities), dtype=bool)
    best = probabilities.argmax(axis=1)
    safe = np.array([c in desk.categories and not desk.categories[c].high_risk for c in head.categories], dtype=bool)
    sure = probabilities[np.arange(len(best)), best] >= desk.policy.confidence_threshold
    return np.asarray(safe[best] & sure, dtype=bool)


@dataclass(frozen=True)
class _Late:
    """A task whose inquiry the version answers by itself."""

    task: LabelTask
    prediction: Prediction
    outcome: services.Outcome
    category: CategoryInfo


def _answer(
    desk: Desk,
    head: ServedHead,
    encoder: Encoder,
    stored_sha: str,
    tasks: Sequence[LabelTask],
    shares: Mapping[int, Floats],
) -> list[int]:
    """Answer what can be answered of these locked tasks and retire it; returns their ids. In a transaction."""
    inquiries = [task.inquiry_id for task in tasks]
    known = _Known.of(inquiries, stored_sha)
    late = [found for t in tasks if (found := _decided(desk, head, encoder, known, t, shares[t.pk])) is not None]
    replies = [
        LateReply(f.task.inquiry_id, f.category.id, f.outcome.reply.id if f.outcome.reply else None) for f in late
    ]
    answered = answer_late(project_id=desk.project_id, replies=replies, model=head.name)
    told = [found for found in late if found.task.inquiry_id in answered]
    LateAnswer.objects.bulk_create(_row(desk, head, found) for found in told)
    ReplyShown.objects.bulk_create(
        ReplyShown(**policies.shown_columns(f.outcome.chosen, f.task.inquiry_id)) for f in told if f.outcome.chosen
    )
    why = {
        f.task.pk: {"model": head.name, "category": f.category.key, "confidence": round(f.prediction.confidence, 4)}
        for f in late
    }
    retiring.retire(why, [found.task for found in late])
    return [found.task.pk for found in late]


@dataclass(frozen=True)
class _Known:
    """What is stored about inquiries: the tone that was read on arrival, their vectors, and whether a policy has shown a reply."""

    tones: Mapping[Any, float | None]
    vectors: Mapping[Any, bytes]
    shown: frozenset[Any]

    @classmethod
    def of(cls, inquiries: Sequence[Any], stored_sha: str) -> _Known:
        records = DecisionRecord.objects.filter(inquiry__in=inquiries).values_list("inquiry_id", "sentiment")
        rows = Embedding.objects.filter(inquiry__in=inquiries, encoder_sha=stored_sha)
        shown = ReplyShown.objects.filter(inquiry__in=inquiries).values_list("inquiry_id", flat=True)
        vectors = {pk: bytes(vector) for pk, vector in rows.values_list("inquiry_id", "vector")}
        return cls(dict(records), vectors, frozenset(shown))


def _decided(desk: Desk, head: ServedHead, encoder: Encoder, known: _Known, task: LabelTask, p: Floats) -> _Late | None:
    """What the version answers as on an arrival, from the stored vector and the tone that was read then; None where a person has to."""
    inquiry = task.inquiry
    tone, vector = known.tones.get(inquiry.pk), known.vectors.get(inquiry.pk)
    if tone is None or vector is None or inquiry.pk in known.shown:
        return None
    prediction = engine.one(encoder, head, p, tone, engine.from_bytes([vector])[0])
    unit = inquiry.customer or inquiry.external_id or str(inquiry.pk)
    outcome = services.outcome_of(desk, prediction, inquiry.locale, inquiry.metadata, draw=1.0, unit=unit)
    if outcome.decision.decision != "auto" or prediction.category is None:
        return None
    return _Late(task, prediction, outcome, desk.categories[prediction.category])


def _row(desk: Desk, head: ServedHead, found: _Late) -> LateAnswer:
    assert head.model_id is not None  # `answer_sure` answers nothing without a version
    reply, confidence = found.outcome.reply, found.prediction.confidence
    told = {"category": found.category.key, "confidence": round(confidence, 4)}
    return LateAnswer(
        inquiry_id=found.task.inquiry_id, project_id=desk.project_id, model_id=head.model_id, model_name=head.name,
        delta=head.delta, category_id=found.category.id, confidence=confidence,
        answer={**told, "reply": reply and {"id": reply.id, "text": reply.text}},
    )  # fmt: skip
