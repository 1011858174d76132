"""Reads of labeling/."""

from __future__ import annotations

import hashlib
import statistics
from collections import defaultdict
from typing import Any

from django.utils import timezone
from django.utils.translation import get_language

from feedback.models import Category
from labeling.agreement import Kappa, cohen_kappa
from labeling.models import Annotation, Flag, LabelTask, Slot, SlotRole, SlotState
from labeling.wording import why

# A queue longer than this is shown as "1,000 or more".
COUNT_LIMIT = 1_000


def pairwise_kappas(*, project_id: int) -> list[tuple[tuple[int, int], Kappa]]:
    """Cohen's κ of each two annotators who share items, ids in order."""
    rows = Annotation.objects.filter(
        task__project_id=project_id, extra=False, role=SlotRole.ANNOTATOR, task__overlap__gte=2
    )
    by_task: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for task, annotator, category in rows.order_by("annotator_id").values_list(
        "task_id", "annotator_id", "category_id"
    ):
        by_task[task].append((annotator, category))
    pairs: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for answers in by_task.values():
        for i, (a, x) in enumerate(answers):
            for b, y in answers[i + 1 :]:
                pairs[a, b].append((x, y))
    return [(who, cohen_kappa(items)) for who, items in sorted(pairs.items())]


def mean_kappa(*, project_id: int) -> tuple[float | None, int]:
    """Mean pairwise κ weighted by shared items, and how many items it rests on."""
    known = [(k.value, k.items) for _, k in pairwise_kappas(project_id=project_id) if k.value is not None]
    items = sum(n for _, n in known)
    return (sum(v * n for v, n in known) / items if items else None), items


def task_payload(task: LabelTask, *, role: str = SlotRole.ANNOTATOR, annotator_id: int | None = None) -> dict[str, Any]:
    """What an annotator is shown: never who else answered, and no suggestion for a blind task.

    An expert's payload holds the answers that disagree, under letters instead of names.
    """
    inquiry = task.inquiry
    names = category_names(project_id=task.project_id)
    words = why(task, names)
    payload = {
        "id": task.pk, "text": inquiry.text, "locale": inquiry.locale, "channel": inquiry.channel, "kind": task.kind,
        "state": task.state, "reason": task.reason, "suggestion": task.suggestion.key if task.suggestion else None,
        "role": role, "received_at": inquiry.received_at, "why": words.blind, "why_seen": words.seen,
        "flagged": Flag.objects.filter(task=task, annotator_id=annotator_id).exists(),
    }  # fmt: skip
    return payload | {"answers": disputed_answers(task)} if role == SlotRole.EXPERT else payload


def category_names(*, project_id: int) -> dict[str, str]:
    """Names by key, archived ones too, in the language of the reader."""
    language = get_language() or "en"
    rows = Category.objects.filter(project_id=project_id).only("key", "name", "names")
    return {c.key: c.name_in(language) for c in rows}


def disputed_answers(task: LabelTask) -> list[dict[str, Any]]:
    """The answers that disagree. Letters follow a hash, so that nobody's place gives them away from item to item."""
    rows = Annotation.objects.filter(task=task, extra=False, role=SlotRole.ANNOTATOR).select_related("category")
    shuffled = sorted(rows, key=lambda a: hashlib.sha256(f"{task.pk}:{a.annotator_id}".encode()).digest())
    return [
        {"letter": chr(ord("A") + i), "category": a.category.key, "seconds": a.seconds, "saw_suggestion": a.saw_suggestion}
        for i, a in enumerate(shuffled)
    ]  # fmt: skip


def desk_status(*, project_id: int, annotator_id: int, role: str) -> dict[str, Any]:
    """What the rail of the desk shows: how much waits, and the person's own day."""
    today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    own = Annotation.objects.filter(annotator_id=annotator_id, task__project_id=project_id, created_at__gte=today)
    times = sorted(s for s in own.values_list("seconds", flat=True) if s is not None)
    return {
        "waiting": waiting(project_id=project_id, role=role),
        "today": own.count(),
        "median_seconds": statistics.median(times) if times else None,
        "recent": recent_answers(project_id=project_id, annotator_id=annotator_id),
    }


def waiting(*, project_id: int, role: str) -> int:
    """Open slots of a role, counted up to `COUNT_LIMIT`: the count stays fast however long the queue is."""
    slots = Slot.objects.filter(project_id=project_id, role=role, state=SlotState.OPEN)
    return slots.order_by()[:COUNT_LIMIT].count()


def recent_answers(*, project_id: int, annotator_id: int, limit: int = 10) -> list[dict[str, Any]]:
    """A person's last answers, newest first: those that can still be taken back."""
    rows = Annotation.objects.filter(annotator_id=annotator_id, task__project_id=project_id)
    newest = rows.select_related("category", "task__inquiry").order_by("-created_at", "-pk")[:limit]
    return [
        {"task": a.task_id, "category": a.category.key, "extra": a.extra, "text": a.task.inquiry.text[:80]} for a in newest
    ]  # fmt: skip
