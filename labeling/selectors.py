"""Reads of labeling/."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC
from typing import Any

from django.utils import timezone
from django.utils.translation import get_language

from feedback.models import Category
from feedback.problems import not_found
from labeling import agreement, counters, days, hot, tallies
from labeling.agreement import Kappa, by_pair, kappa_of_table
from labeling.models import Annotation, SlotRole, TaskState
from labeling.wording import why


def pairwise_kappas(*, project_id: int) -> list[tuple[tuple[int, int], Kappa]]:
    """Cohen's κ of each two annotators who share items, ids in order."""
    tables = by_pair(tallies.read(project_id=project_id))
    return [(who, kappa_of_table(table)) for who, table in tables.items()]


def mean_kappa(*, project_id: int) -> tuple[float | None, int]:
    """Mean pairwise κ weighted by shared items, and how many items it rests on."""
    found = agreement.mean_kappa(k for _, k in pairwise_kappas(project_id=project_id))
    return found.value, found.items


_ITEM = """
SELECT t.project_id, p.revision, t.kind, t.state, t.reason, c.key, i.text, i.locale, i.channel, i.received_at,
    EXISTS (SELECT 1 FROM labeling_flag f WHERE f.task_id = t.id AND f.annotator_id = %(annotator)s)
FROM labeling_labeltask t JOIN feedback_project p ON p.id = t.project_id JOIN feedback_inquiry i ON i.id = t.inquiry_id
LEFT JOIN feedback_category c ON c.id = t.suggestion_id
WHERE t.id = %(task)s
"""


def task_payload(*, task_id: int, role: str, annotator_id: int) -> dict[str, Any]:
    """What an annotator is shown: never who else answered, and no suggestion for a blind task.

    An expert's payload holds the answers that disagree, under letters instead of names.
    """
    found = hot.row(_ITEM, {"task": task_id, "annotator": annotator_id})
    if found is None:
        raise not_found("task")
    project_id, revision, kind, state, reason, suggestion, text, locale, channel, received_at, flagged = found
    reason = json.loads(reason)  # Django's connections hand jsonb over as text
    words = why(kind, reason, category_names(project_id=project_id, revision=revision))
    # A known item is a settled task: its state would tell it apart.
    shown = TaskState.OPEN if role == SlotRole.ANNOTATOR else state
    payload = {
        "id": task_id, "text": text, "locale": locale, "channel": channel, "kind": kind, "state": shown, "reason": reason,
        "suggestion": suggestion, "role": role, "received_at": received_at, "why": words.blind, "why_seen": words.seen,
        "flagged": flagged,
    }  # fmt: skip
    return payload | {"answers": disputed_answers(task_id)} if role == SlotRole.EXPERT else payload


_names: dict[tuple[int, int, str], dict[str, str]] = {}
_KEPT = 200


def category_names(*, project_id: int, revision: int | None = None) -> dict[str, str]:
    """Names by key, archived ones too, in the language of the reader; kept until the project's revision moves."""
    language = get_language() or "en"
    key = (project_id, revision or 0, language)
    if revision is not None and key in _names:
        return _names[key]
    rows = Category.objects.filter(project_id=project_id).only("key", "name", "names")
    found = {c.key: c.name_in(language) for c in rows}
    if revision is not None:
        if len(_names) >= _KEPT:
            _names.clear()
        _names[key] = found
    return found


def disputed_answers(task_id: int) -> list[dict[str, Any]]:
    """The answers that disagree. Letters follow a hash, so that nobody's place gives them away from item to item."""
    counted = Annotation.objects.filter(task=task_id, extra=False, gold=False, role=SlotRole.ANNOTATOR)
    rows = counted.values_list("annotator_id", "category__key", "seconds", "saw_suggestion")
    shuffled = sorted(rows, key=lambda row: hashlib.sha256(f"{task_id}:{row[0]}".encode()).digest())
    return [
        {"letter": chr(ord("A") + i), "category": category, "seconds": seconds, "saw_suggestion": saw}
        for i, (_, category, seconds, saw) in enumerate(shuffled)
    ]


def desk_status(*, project_id: int, annotator_id: int, role: str) -> dict[str, Any]:
    """What the rail of the desk shows: how much waits, and the person's own day."""
    today = timezone.now().astimezone(UTC).date()
    return {
        "waiting": waiting(project_id=project_id, role=role),
        "today": days.answered_on(project_id=project_id, annotator_id=annotator_id, day=today),
        "median_seconds": days.usual_seconds(project_id=project_id, annotator_id=annotator_id),
        "recent": recent_answers(project_id=project_id, annotator_id=annotator_id),
    }


def waiting(*, project_id: int, role: str) -> int:
    """Open slots of a role, by the counter: as fast for a long queue as for a short one."""
    return counters.read(project_id).get(f"slot:{role}:open", 0)


def recent_answers(*, project_id: int, annotator_id: int, limit: int = 10) -> list[dict[str, Any]]:
    """A person's last answers, newest first: those that can still be taken back."""
    rows = Annotation.objects.filter(annotator_id=annotator_id, task__project_id=project_id, superseded=False)
    newest = rows.select_related("category", "task__inquiry").order_by("-created_at", "-pk")[:limit]
    return [
        {
            "task": a.task_id, "category": a.category.key if a.category else None, "extra": a.extra,
            "text": a.task.inquiry.text[:80],
        }
        for a in newest
    ]  # fmt: skip


def history(*, project_id: int, annotator_id: int, before: int | None, limit: int) -> dict[str, Any]:
    """A person's answers, newest first, a page at a time: `next` is where the next page begins, None at the end."""
    rows = Annotation.objects.filter(annotator_id=annotator_id, task__project_id=project_id)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = list(rows.select_related("category", "task__inquiry", "guideline").order_by("-pk")[: limit + 1])
    return {
        "answers": [_past(a) for a in found[:limit]],
        "next": found[limit - 1].pk if len(found) > limit else None,
    }


def _past(a: Annotation) -> dict[str, Any]:
    """An answer as its author sees it again. Whether the item was a known one is not told."""
    return {
        "id": a.pk, "task": a.task_id, "category": a.category.key if a.category else None, "role": a.role, "extra": a.extra,
        "seconds": a.seconds, "saw_suggestion": a.saw_suggestion, "text": a.task.inquiry.text[:200],
        "guideline": a.guideline.number if a.guideline else None, "answered_at": a.created_at,
    }  # fmt: skip
