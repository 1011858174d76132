"""The weight of each label of a project, from the reliability of those who gave it and the scores of its inquiry."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from django.db.models import F

from feedback.models import InquiryScore
from labeling.measures import reliability_of
from labeling.models import Annotation, LabelSource
from learning.core.weights import joint, label_weight, reliability
from learning.models import TrainingSettings

# The word of an expert or of an agent counts fully, and so does what was imported: nobody here can be judged for it.
JUDGED = (LabelSource.SINGLE, LabelSource.AGREED, LabelSource.CONSENSUS)
UNKNOWN = reliability(0, 0)
CHUNK = 5_000


@dataclass(frozen=True)
class Weights:
    """What the weights of some labels are made of."""

    annotators: dict[uuid.UUID, list[int]]  # who gave the answers that count, by inquiry
    reliabilities: dict[int, float]
    scores: dict[uuid.UUID, float]
    strength: float  # λ of feedback

    @classmethod
    def of(cls, *, project_id: int, inquiries: Collection[uuid.UUID], strength: float | None = None) -> Weights:
        """With the project's λ, or another ``strength``."""
        ids = list(inquiries)
        return cls(
            _annotators(ids), _reliabilities(project_id) if ids else {}, _scores(ids),
            TrainingSettings.of(project_id).feedback_weight if strength is None else strength,
        )  # fmt: skip

    def weight(self, inquiry: uuid.UUID, source: str) -> float:
        """Weight of the label of this inquiry, above 0 and at most 1 + λ."""
        given = 1.0
        if source in JUDGED:
            who = self.annotators.get(inquiry, [])
            given = joint([self.reliabilities.get(pk, UNKNOWN) for pk in who]) if who else UNKNOWN
        return label_weight(given, self.scores.get(inquiry), self.strength)


def _annotators(ids: list[uuid.UUID]) -> dict[uuid.UUID, list[int]]:
    found: dict[uuid.UUID, list[int]] = defaultdict(list)
    for at in range(0, len(ids), CHUNK):
        answers = Annotation.objects.filter(
            task__inquiry_id__in=ids[at : at + CHUNK], role="annotator", extra=False, gold=False
        )
        # Only those who said what became the label: who was outvoted does not vouch for it.
        agreeing = answers.filter(category_id__isnull=False, task__category_id=F("category_id"))
        for inquiry, who in agreeing.order_by("annotator_id").values_list("task__inquiry_id", "annotator_id"):
            found[inquiry].append(who)
    return found


def _reliabilities(project_id: int) -> dict[int, float]:
    return {
        r.annotator: reliability(r.all.right, r.all.total) for r in reliability_of(project_id) if r.category is None
    }


def _scores(ids: list[uuid.UUID]) -> dict[uuid.UUID, float]:
    """f of each inquiry: what its customer said, else what they did."""
    found: dict[uuid.UUID, float] = {}
    for at in range(0, len(ids), CHUNK):
        rows = InquiryScore.objects.filter(inquiry_id__in=ids[at : at + CHUNK])
        for inquiry, explicit, implicit in rows.values_list("inquiry_id", "explicit", "implicit"):
            f = implicit if explicit is None else explicit
            if f is not None:
                found[inquiry] = f
    return found
