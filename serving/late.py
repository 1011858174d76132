"""Answers that come late: a person was asked, nobody has had the time, and a new version is sure (docs/decisions/0065).

The version decides by the rules of an arrival: threshold, risk, tone, reply. What it answers is answered as if it had arrived
now, and the task is retired; whatever it would hand to a person stays with the people who have it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from feedback.models import Fold, Status
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
    keep: Collection[int] = (),
) -> list[int]:
    """Answer the inquiries behind those of these open tasks of which the version in production is sure, and retire the tasks.

    ``probabilities`` [n, C] are its head's, one row per task. Tasks that are to be asked all the same (``keep``, or sent by somebody
    for a topic) stay open; their customers are answered no less. Returns the ids of the retired tasks. In transactions of `AT_ONCE`
    tasks, each whole or not at all; again changes nothing. Without a version in production nothing is answered: category texts
    alone are no reason to take an inquiry from a person.
    """
    sure = np.flatnonzero(sure_of(project_id=project_id, encoder_sha=encoder_sha, probabilities=probabilities))
    shares = {int(tasks[i]): probabilities[i] for i in sure.tolist()}
    answering = _Answering.of(project_id, encoder_sha, frozenset(keep))
    retired: list[int] = []
    ids = sorted(shares)
    for start in range(0, len(ids), AT_ONCE):
        with transaction.atomic():
            found = retiring.untouched(ids[start : start + AT_ONCE])
            retired += answering.answer(found, shares)
    return retired


def sure_of(*, project_id: int, encoder_sha: str, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows [n, C] of its head's the version in production would answer by itself, before tone and reply are looked at; none
    without one."""
    desk = served.desk(project_id)
    head = served.head(desk, served.encoder_by_sha(encoder_sha))
    if head.model_id is None or not len(probabilities) or probabilities.shape[1] != len(head.categories):
        return np.zeros(len(probabilities), dtype=bool)
    best = probabilities.argmax(axis=1)
    safe = np.array([c in desk.categories and not desk.categories[c].high_risk for c in head.categories], dtype=bool)
    sure = probabilities[np.arange(len(best)), best] >= desk.policy.confidence_threshold
    return np.asarray(safe[best] & sure, dtype=bool)


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


@dataclass(frozen=True)
class _Late:
    """A task whose inquiry the version answers by itself."""

    task: LabelTask
    prediction: Prediction
    outcome: services.Outcome
    category: CategoryInfo


@dataclass(frozen=True)
class _Known:
    """What is stored about inquiries: the tone that was read on arrival, their vectors, and which have been shown a reply already, by
    a policy or late."""

    tones: Mapping[Any, float | None]
    vectors: Mapping[Any, bytes]
    shown: frozenset[Any]

    @classmethod
    def of(cls, inquiries: Sequence[Any], stored_sha: str) -> _Known:
        records = DecisionRecord.objects.filter(inquiry__in=inquiries).values_list("inquiry_id", "sentiment")
        rows = Embedding.objects.filter(inquiry__in=inquiries, encoder_sha=stored_sha)
        shown = {
            pk
            for model in (ReplyShown, LateAnswer)
            for pk in model.objects.filter(inquiry__in=inquiries).values_list("inquiry_id", flat=True)
        }
        vectors = {pk: bytes(vector) for pk, vector in rows.values_list("inquiry_id", "vector")}
        return cls(dict(records), vectors, frozenset(shown))


@dataclass(frozen=True)
class _Answering:
    """A version and its desk, at work on tasks that are locked."""

    desk: Desk
    head: ServedHead
    encoder: Encoder
    stored_sha: str
    keep: frozenset[int]

    @classmethod
    def of(cls, project_id: int, encoder_sha: str, keep: frozenset[int]) -> _Answering:
        desk, encoder = served.desk(project_id), served.encoder_by_sha(encoder_sha)
        return cls(desk, served.head(desk, encoder), encoder, space_of(encoder_sha).stored_sha, keep)

    def answer(self, tasks: Sequence[LabelTask], shares: Mapping[int, Floats]) -> list[int]:
        """Answer what can be answered and waits, and retire what is not to be asked; the ids of these. In a transaction."""
        tasks = [t for t in tasks if t.inquiry.status == Status.WAITING or not self._asked(t)]
        known = _Known.of([task.inquiry_id for task in tasks], self.stored_sha)
        late = [found for t in tasks if (found := self._decided(known, t, shares[t.pk])) is not None]
        self._tell([found for found in late if found.task.inquiry.status == Status.WAITING])
        retired = [found for found in late if not self._asked(found.task)]
        retiring.retire({found.task.pk: self._why(found) for found in retired}, [found.task for found in retired])
        return [found.task.pk for found in retired]

    def _asked(self, task: LabelTask) -> bool:
        return task.pk in self.keep or (isinstance(task.reason, dict) and task.reason.get("rule") == "topic")

    def _decided(self, known: _Known, task: LabelTask, p: Floats) -> _Late | None:
        """What the version answers as on an arrival, from the stored vector and the tone that was read then; None where a person
        has to."""
        inquiry, desk = task.inquiry, self.desk
        tone, vector = known.tones.get(inquiry.pk), known.vectors.get(inquiry.pk)
        if tone is None or vector is None or (inquiry.status == Status.WAITING and inquiry.pk in known.shown):
            return None
        prediction = engine.one(self.encoder, self.head, p, tone, engine.from_bytes([vector])[0])
        unit = inquiry.customer or inquiry.external_id or str(inquiry.pk)
        outcome = services.outcome_of(desk, prediction, inquiry.locale, inquiry.metadata, draw=1.0, unit=unit)
        if outcome.decision.decision != "auto" or prediction.category is None:
            return None
        return _Late(task, prediction, outcome, desk.categories[prediction.category])

    def _tell(self, found: Sequence[_Late]) -> None:
        """Answer the customers. Their inquiries are locked: nobody else answers one meanwhile."""
        replies = [
            LateReply(f.task.inquiry_id, f.category.id, f.outcome.reply.id if f.outcome.reply else None) for f in found
        ]
        answer_late(project_id=self.desk.project_id, replies=replies, model=self.head.name)
        LateAnswer.objects.bulk_create(self._row(f) for f in found)
        chosen = [(f.outcome.chosen, f.task.inquiry_id) for f in found if f.outcome.chosen]
        ReplyShown.objects.bulk_create(ReplyShown(**policies.shown_columns(choice, pk)) for choice, pk in chosen)

    def _why(self, found: _Late) -> dict[str, Any]:
        return {
            "model": self.head.name, "category": found.category.key, "confidence": round(found.prediction.confidence, 4),
        }  # fmt: skip

    def _row(self, found: _Late) -> LateAnswer:
        assert self.head.model_id is not None  # `sure_of` is sure of nothing without a version
        reply, told = found.outcome.reply, self._why(found)
        return LateAnswer(
            inquiry_id=found.task.inquiry_id, project_id=self.desk.project_id, model_id=self.head.model_id,
            model_name=self.head.name, delta=self.head.delta, category_id=found.category.id,
            confidence=found.prediction.confidence,
            answer={
                "category": told["category"], "confidence": told["confidence"],
                "reply": reply and {"id": reply.id, "text": reply.text},
            },
        )  # fmt: skip
