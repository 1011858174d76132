"""Reads of labeling/."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from labeling.agreement import Kappa, cohen_kappa
from labeling.models import Annotation, LabelTask, SlotRole


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


def task_payload(task: LabelTask) -> dict[str, Any]:
    """What an annotator is shown: never who else answered, and no suggestion for a blind task."""
    inquiry = task.inquiry
    return {
        "id": task.pk, "text": inquiry.text, "locale": inquiry.locale, "channel": inquiry.channel, "kind": task.kind,
        "state": task.state, "reason": task.reason, "suggestion": task.suggestion.key if task.suggestion else None,
    }  # fmt: skip
