"""Tasks that nobody has to answer any more, and how one is asked again.

Only selection tasks that nobody has touched: an audit is drawn to be answered, an answer or a skip is somebody's work, a flag is
a question, and an open case is a person's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Count, Exists, OuterRef
from django.utils import timezone

from feedback.models import Inquiry
from labeling.models import (
    Annotation,
    Escalation,
    EscalationState,
    Flag,
    LabelTask,
    Resolution,
    Skip,
    Slot,
    SlotState,
    TaskKind,
    TaskState,
)
from labeling.opening import Wanted, slot_columns
from labeling.ranking import Rules


def untouched(task_ids: Sequence[int]) -> list[LabelTask]:
    """Those of these tasks that may be retired, with their inquiries, in the order of their ids. They, their slots and their
    inquiries are locked: nobody claims or answers one, or opens a case of it, until the caller's transaction ends. A task that
    somebody has at this moment is left out."""
    tasks = LabelTask.objects.select_for_update(of=("self",), skip_locked=True).filter(
        ~Exists(Annotation.objects.filter(task=OuterRef("pk"))),
        ~Exists(Skip.objects.filter(task=OuterRef("pk"))),
        ~Exists(Flag.objects.filter(task=OuterRef("pk"))),
        pk__in=list(task_ids), state=TaskState.OPEN, kind=TaskKind.SELECTION,
    )  # fmt: skip
    found = {task.pk: task for task in _without_case(list(tasks.order_by("pk")))}
    # A claim locks its slot alone, so a slot that is not to be had, or not open, is somebody's.
    free = Slot.objects.select_for_update(skip_locked=True).filter(task__in=list(found), state=SlotState.OPEN)
    held: dict[int, int] = {}
    for task_id in free.order_by("task", "number").values_list("task_id", flat=True):
        held[task_id] = held.get(task_id, 0) + 1
    taken = Slot.objects.filter(task__in=list(found)).values("task").annotate(n=Count("pk")).values_list("task", "n")
    return [found[pk] for pk, count in sorted(taken) if held.get(pk) == count]


def _without_case(tasks: Sequence[LabelTask]) -> list[LabelTask]:
    """Those of these locked tasks whose inquiry no agent has; the inquiries are locked, too."""
    rows = Inquiry.objects.select_for_update(skip_locked=True, no_key=True).filter(task__in=tasks).order_by("pk")
    free = {inquiry.pk: inquiry for inquiry in rows}
    # Asked only now: an app opens a case under the lock of its inquiry, and a statement begun before would not see it.
    cases = Escalation.objects.filter(inquiry__in=list(free), state=EscalationState.OPEN)
    for inquiry_id in cases.values_list("inquiry_id", flat=True):
        free.pop(inquiry_id, None)
    left = [task for task in tasks if task.inquiry_id in free]
    for task in left:
        task.inquiry = free[task.inquiry_id]
    return left


def retire(why: Mapping[int, dict[str, Any]], tasks: Sequence[LabelTask]) -> None:
    """Ask nobody any more; what ``why`` says of a task, by id, is kept with the reason for which it was asked. The caller holds the
    rows of the tasks and of their slots."""
    now = timezone.now()
    for task in tasks:
        task.reason = {**(task.reason if isinstance(task.reason, dict) else {}), "retired": why[task.pk]}
        task.state, task.resolved_at = TaskState.RETIRED, now
    Slot.objects.filter(task__in=tasks).exclude(state=SlotState.DONE).delete()
    LabelTask.objects.bulk_update(tasks, ["state", "reason", "resolved_at"])


def ask_again(*, task_ids: Sequence[int], priority: float) -> list[int]:
    """Open tasks anew that were retired because a model was sure; returns their ids. Those of which an expert said that no category
    fits stay closed. In a transaction of the caller."""
    retired = LabelTask.objects.select_for_update(of=("self",)).filter(
        pk__in=list(task_ids), state=TaskState.RETIRED, kind=TaskKind.SELECTION
    )
    tasks = list(
        retired.exclude(resolution=Resolution.NONE).select_related("inquiry", "project", "suggestion").order_by("pk")
    )
    for task in tasks:
        task.state, task.resolved_at, task.priority = TaskState.OPEN, None, priority
        task.reason = {name: value for name, value in task.reason.items() if name != "retired"}
        task.save(update_fields=["state", "resolved_at", "priority", "reason"])
        wanted = Wanted(TaskKind.SELECTION, priority, task.reason, task.suggestion)
        columns = {
            "id": task.pk, "project_id": task.project_id, "overlap": task.overlap, "priority": priority, "risk": task.risk,
            "created_at": task.created_at,
        }  # fmt: skip
        slots = slot_columns(columns, wanted, Rules.of(task.project), locale=task.inquiry.locale)
        Slot.objects.bulk_create(Slot(**slot) for slot in slots)
    return [task.pk for task in tasks]
