"""One action on several cases: what it would do, doing it, and taking it back.

Each case is changed by itself, by compare-and-set: those that somebody has touched since the preview are left alone and
named. Taking back restores only cases that nobody has touched since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from feedback.problems import Problem, invalid, not_found
from labeling import escalations
from labeling.case_models import CaseBatch, CaseEntry, EntryKind
from labeling.escalations import Hand
from labeling.models import Escalation, EscalationState

LIMIT = 100
# What each action changes, and so what taking it back restores.
FIELDS: dict[str, tuple[str, ...]] = {
    "assign": ("assignee_id",),
    "release": ("assignee_id",),
    "snooze": ("snoozed_until",),
    "level": ("level", "priority", "standing", "first_due_at", "resolve_due_at", "next_due_at"),
}


@dataclass(frozen=True)
class Act:
    """One of `FIELDS` with its value: a level, or a moment."""

    action: str
    level: str = ""
    until: datetime | None = None

    def on(self, hand: Hand) -> Escalation:
        """Do it to one case; Problem where it was overtaken or the value is wrong."""
        known: dict[str, Callable[[], Escalation]] = {
            "assign": lambda: escalations.assign(hand, to_id=hand.agent_id),
            "release": lambda: escalations.assign(hand, to_id=None),
            "snooze": lambda: escalations.snooze(hand, until=self.until),
            "level": lambda: escalations.set_level(hand, level=self.level),
        }
        if self.action not in known:
            raise invalid("action", f"Choose one of {', '.join(known)}.")
        return known[self.action]()


@dataclass(frozen=True)
class Done:
    """What became of a batch: the cases that were changed, and those that others had changed first."""

    batch: CaseBatch
    changed: list[int]
    left_alone: list[int]


def act_on(*, project_id: int, agent_id: int, versions: Mapping[int, int], act: Act) -> Done:
    """Do `act` to each case that is still at the version that was seen. A wrong value changes nothing at all."""
    if not 0 < len(versions) <= LIMIT:
        raise invalid("cases", f"Choose 1 to {LIMIT} cases.")
    items: list[dict[str, Any]] = []
    left: list[int] = []
    with transaction.atomic():
        before = {c.pk: c for c in Escalation.objects.filter(project_id=project_id, pk__in=versions)}
        for case_id, version in sorted(versions.items()):
            try:
                after = act.on(Hand(project_id, case_id, version, agent_id))
            except Problem as problem:
                if problem.status not in (404, 409):
                    raise
                left.append(case_id)
            else:
                items.append({"case": case_id, "version": after.version, "before": _state(before[case_id], act.action)})
        batch = CaseBatch.objects.create(project_id=project_id, author_id=agent_id, action=act.action, items=items)
    return Done(batch, [i["case"] for i in items], left)


def _state(case: Escalation, action: str) -> dict[str, Any]:
    values = {name: getattr(case, name) for name in FIELDS[action]}
    return {name: v.isoformat() if isinstance(v, datetime) else v for name, v in values.items()}


def undo(*, project_id: int, agent_id: int, batch_id: int) -> tuple[list[int], list[int]]:
    """Restore what a batch of one's own changed; returns the cases restored and those that others have touched since."""
    with transaction.atomic():
        mine = CaseBatch.objects.filter(pk=batch_id, project_id=project_id, author_id=agent_id)
        batch = mine.select_for_update().first()
        if batch is None:
            raise not_found("batch of yours")
        if batch.undone_at is not None:
            raise Problem(409, "already-undone", "This has been taken back already.")
        restored: list[int] = []
        left: list[int] = []
        for item in batch.items:
            (restored if _restore(batch, item, agent_id) else left).append(item["case"])
        batch.undone_at = timezone.now()
        batch.save(update_fields=["undone_at"])
    return restored, left


def _restore(batch: CaseBatch, item: dict[str, Any], agent_id: int) -> bool:
    as_left = Escalation.objects.filter(
        pk=item["case"], project_id=batch.project_id, state=EscalationState.OPEN, version=item["version"]
    )
    if not as_left.update(version=item["version"] + 1, **item["before"]):
        return False
    CaseEntry.objects.create(
        case_id=item["case"], kind=EntryKind.UNDONE, author_id=agent_id, data={"action": batch.action}
    )
    return True
