"""Audited answers of a project: random draws, labeled blind, with the propensity of each draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db.models import F
from numpy.typing import NDArray

from labeling.models import TaskKind, TaskState
from learning.core.audit import UNKNOWN, Estimate, audited_share
from serving.models import DecisionRecord

# More answers than this make a figure hardly surer, and older.
MOST = 2_000


@dataclass(frozen=True)
class Answer:
    """One audited answer: what was said, what is right (category keys), and how likely the draw was."""

    at: datetime
    said: str | None
    right: str
    confidence: float
    propensity: float
    model: int | None

    @property
    def hit(self) -> bool:
        return self.said == self.right


def audited_answers(*, project_id: int, since: datetime | None = None, most: int = MOST) -> list[Answer]:
    """The newest audited answers to inquiries that arrived after `since`, oldest first."""
    drawn = DecisionRecord.objects.filter(
        inquiry__project_id=project_id, audit=True, propensity__gt=0,
        inquiry__task__kind=TaskKind.AUDIT, inquiry__task__state=TaskState.RESOLVED,
    )  # fmt: skip
    if since is not None:
        drawn = drawn.filter(inquiry__received_at__gt=since)
    rows = drawn.order_by("-inquiry__received_at", "-inquiry_id").values_list(
        "inquiry__received_at", "category__key", F("inquiry__task__category__key"), "confidence", "propensity", "model_id",
    )  # fmt: skip
    return [Answer(*row) for row in rows[:most]][::-1]


def drawn_since(*, project_id: int, since: datetime | None) -> int:
    """Audit draws, labeled or not."""
    drawn = DecisionRecord.objects.filter(inquiry__project_id=project_id, audit=True)
    return (drawn if since is None else drawn.filter(inquiry__received_at__gt=since)).count()


def accuracy(answers: Sequence[Answer]) -> Estimate:
    """Share of all answers that were right, by inverse propensity."""
    if not answers:
        return UNKNOWN
    return audited_share([a.hit for a in answers], [a.propensity for a in answers])


def as_json(estimate: Estimate, **more: Any) -> dict[str, Any] | None:
    return {**asdict(estimate), **more} if estimate.n else None


def counts(keys: Sequence[str | None], categories: Sequence[str]) -> NDArray[np.int64]:
    """How often each category occurs (C,); what is no category is not counted."""
    index = {key: n for n, key in enumerate(categories)}
    known = [index[key] for key in keys if key in index]
    return np.bincount(np.array(known, dtype=np.int64), minlength=len(categories)).astype(np.int64)
