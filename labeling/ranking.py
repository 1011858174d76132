"""Which open task comes first, how many people answer it, and who may. Pure: plain values in, plain values out.

The rule of the queue: a task's priority is

    value + risk − opened / patience        (opened in days since 2020-01-01, patience in days)

`value` is what selection gives it, in [−1, 1]; `risk` is RISK for a category of high risk, else 0. All waiting tasks grow
older at the same rate, so their order never changes by itself, and no job has to raise priorities: what grows with waiting
is the distance to every task that comes later. Nothing starves: whatever opens more than (2 + RISK) · patience after a task
is handed out after it.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

RISK = 0.5
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
LANGUAGE_LENGTH = 8


class HasRules(Protocol):
    """What carries a project's rules under its own names: a row of feedback's Project."""

    overlap: int
    double_share: float
    patience_days: float


@dataclass(frozen=True)
class Rules:
    """A project's rules for the tasks that it opens (fields of Project)."""

    overlap: int
    double_share: float
    patience_days: float

    @classmethod
    def of(cls, project: HasRules) -> Rules:
        return cls(project.overlap, project.double_share, project.patience_days)


def slot_priority(*, value: float, risk: float, opened_at: datetime, patience_days: float) -> float:
    """The key by which slots are claimed, highest first.

    >>> day = datetime(2020, 1, 8, tzinfo=UTC)
    >>> slot_priority(value=0.5, risk=0.0, opened_at=day, patience_days=7.0)
    -0.5
    """
    return value + risk - (opened_at - EPOCH).total_seconds() / 86_400 / patience_days


def required_overlap(*, wanted: int, category: int | None, double_share: float, draw: float) -> int:
    """Annotations that a task needs: its category's number, else the project's, else two for a sampled share.

    `draw` is uniform over [0, 1) and fixed per task (`share_of`), so that asking again gives the same answer.
    """
    if category is not None:
        return category
    return 2 if wanted == 1 and draw < double_share else wanted


def share_of(key: uuid.UUID, purpose: str) -> float:
    """A number in [0, 1) that is fixed by `key`, uniform over keys, and independent between purposes."""
    digest = hashlib.sha256(purpose.encode() + key.bytes).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def language_of(locale: str) -> str:
    """The language part of a locale, '' where it is unknown: `pt-BR` and `pt_BR` are `pt`.

    >>> language_of("pt_BR")
    'pt'
    """
    return locale.replace("_", "-").split("-", 1)[0].lower()[:LANGUAGE_LENGTH]
