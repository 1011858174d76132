"""A task as rows: for whoever writes an inquiry and its task in one statement (feedback/bulk.py).

`labeling.services.open_task` is the same for an inquiry that is there already; both are made by `task_columns` and
`slot_columns` of this module.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from feedback import bulk
from feedback.bulk import Derived, Part, Rows
from feedback.recording import STORED
from feedback.sequences import Sequence
from labeling.models import Escalation, LabelTask, Slot, TaskKind
from labeling.ranking import RISK, Rules, language_of, required_overlap, share_of, slot_priority

task_ids, case_ids = Sequence(LabelTask), Sequence(Escalation)


class Suggested(Protocol):
    """What the queue needs to know of a suggested category."""

    @property
    def id(self) -> int: ...
    @property
    def high_risk(self) -> bool: ...
    @property
    def overlap(self) -> int | None: ...
    @property
    def restricted(self) -> bool: ...


@dataclass(frozen=True)
class Wanted:
    """A task as its opener asks for it. An audit task is blind: a suggestion changes neither its place nor its overlap."""

    kind: TaskKind
    priority: float
    reason: dict[str, Any]
    suggestion: Suggested | None = None
    propensity: float | None = None

    @property
    def blind(self) -> bool:
        return self.kind == TaskKind.AUDIT

    @property
    def seen(self) -> Suggested | None:
        """The suggestion that is kept with the task."""
        return None if self.blind else self.suggestion


def task_columns(wanted: Wanted, rules: Rules, *, project_id: int, inquiry_id: uuid.UUID) -> dict[str, Any]:
    """Columns of the task: its overlap is the project's, which its category or the sampling may raise."""
    seen = wanted.seen
    return {
        "project_id": project_id, "inquiry_id": inquiry_id, "kind": str(wanted.kind), "priority": wanted.priority,
        "reason": wanted.reason, "suggestion_id": seen.id if seen else None, "risk": RISK if seen and seen.high_risk else 0.0,
        "propensity": wanted.propensity if wanted.blind else None,
        "overlap": required_overlap(
            wanted=rules.overlap, category=seen.overlap if seen else None, double_share=rules.double_share,
            draw=share_of(inquiry_id, "double"),
        ),
    }  # fmt: skip


def slot_columns(task: dict[str, Any], wanted: Wanted, rules: Rules, *, locale: str) -> list[dict[str, Any]]:
    """Columns of the slots of a task with these columns (its id and `created_at` among them)."""
    seen = wanted.seen
    priority = slot_priority(
        value=task["priority"], risk=task["risk"], opened_at=task["created_at"], patience_days=rules.patience_days
    )
    common = {
        "task_id": task["id"], "project_id": task["project_id"], "overlap": task["overlap"], "priority": priority,
        "language": language_of(locale), "skill": seen.id if seen and seen.restricted else 0,
    }  # fmt: skip
    return [{**common, "number": number} for number in range(1, task["overlap"] + 1)]


def task_rows(
    wanted: Wanted, rules: Rules, *, project_id: int, inquiry_id: uuid.UUID, locale: str, now: datetime
) -> Rows:
    """Rows of `PARTS` for the task of an inquiry that is written with it."""
    columns = task_columns(wanted, rules, project_id=project_id, inquiry_id=inquiry_id)
    columns |= {"id": task_ids.take(), "created_at": now}
    slots = slot_columns(columns, wanted, rules, locale=locale)
    return {"task": [bulk.row(LabelTask, **columns)], "slot": [bulk.row(Slot, **slot) for slot in slots]}


PARTS: tuple[Part | Derived, ...] = (
    Part("task", LabelTask, where=STORED, then="RETURNING id"),
    Part("slot", Slot, where="task_id IN (SELECT id FROM task)"),
)
