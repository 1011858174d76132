"""A project's settled labels with where they come from, a page at a time."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.utils.crypto import salted_hmac

from feedback.models import Fold
from labeling.models import Annotation, Label, SlotRole

PAGE = 1_000
COLUMNS = (
    "inquiry", "external_id", "text", "locale", "channel", "label", "label_name", "source", "resolution", "agreement",
    "annotators", "saw_suggestion", "suggestion", "suggested_by", "fold", "revision", "settled_at", "annotations",
)  # fmt: skip
_FOLDS = {fold.value: fold.label for fold in Fold}
_LABEL = (
    "pk", "inquiry_id", "inquiry__external_id", "inquiry__text", "inquiry__locale", "inquiry__channel", "category__key",
    "category__name", "source", "saw_suggestion", "inquiry__fold", "revision", "settled_at", "inquiry__task__id",
    "inquiry__task__resolution", "inquiry__task__suggestion__key",
)  # fmt: skip
_ANNOTATION = (
    "task_id", "annotator_id", "category__key", "role", "seconds", "saw_suggestion", "extra", "created_at", "guideline__number",
)  # fmt: skip

Suggesters = Callable[[Sequence[uuid.UUID]], dict[uuid.UUID, str]]
_suggesters: list[Suggesters] = []


def suggested_by(function: Suggesters) -> Suggesters:
    """Register who knows which model suggested: inquiry ids to the name of the version. Nothing here knows how."""
    _suggesters.append(function)
    return function


def pseudonym(project_id: int, annotator_id: int) -> str:
    """The same name for a person throughout one project, of which nobody without the installation's key can tell the person.

    A keyed hash (HMAC-SHA256), 12 hexadecimal digits; another project gives another name.
    """
    return "a" + salted_hmac(f"enso.annotator.{project_id}", str(annotator_id), algorithm="sha256").hexdigest()[:12]


def pages(*, project_id: int, since: datetime | None = None, size: int | None = None) -> Iterator[list[dict[str, Any]]]:
    """Settled labels in the order they were first settled, as plain values. Each page is one look at the database: what is
    settled anew meanwhile may come with its new value, and no transaction is open while a slow reader reads."""
    own = Label.objects.filter(project_id=project_id, category__isnull=False).order_by("pk")
    own = own.filter(settled_at__gt=since) if since else own
    names: dict[int, str] = {}
    last = 0
    while rows := list(own.filter(pk__gt=last).values_list(*_LABEL)[: size or PAGE]):
        last = rows[-1][0]
        answers = _answers(project_id, [r[13] for r in rows if r[13] is not None], names)
        versions = _versions([r[1] for r in rows if r[15]])
        yield [_record(r, answers.get(r[13], []), versions.get(r[1], "")) for r in rows]


def _answers(project_id: int, tasks: Sequence[int], names: dict[int, str]) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    rows = (
        Annotation.objects.filter(task_id__in=tasks).order_by("task_id", "created_at", "pk").values_list(*_ANNOTATION)
    )
    for task, annotator, label, role, seconds, saw, extra, at, guideline in rows:
        name = names.get(annotator) or names.setdefault(annotator, pseudonym(project_id, annotator))
        found[task].append({
            "annotator": name, "label": label, "role": role, "seconds": seconds, "saw_suggestion": saw, "extra": extra,
            "guideline": guideline, "at": at.isoformat(),
        })  # fmt: skip
    return found


def _versions(inquiries: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    found: dict[uuid.UUID, str] = {}
    for look_up in _suggesters if inquiries else ():
        found |= look_up(inquiries)
    return found


def _record(row: Sequence[Any], answers: list[dict[str, Any]], version: str) -> dict[str, Any]:
    (_, inquiry, external_id, text, locale, channel, key, name, source, saw, fold, revision, settled_at, _task, resolution,
     suggestion) = row  # fmt: skip
    counted = [a for a in answers if not a["extra"] and a["role"] == SlotRole.ANNOTATOR]
    return {
        "inquiry": str(inquiry), "external_id": external_id or "", "text": text, "locale": locale, "channel": channel, "label": key,
        "label_name": name, "source": source, "resolution": resolution or "",
        "agreement": sum(a["label"] == key for a in counted) / len(counted) if counted else None, "annotators": len(counted),
        "saw_suggestion": saw, "suggestion": suggestion or "", "suggested_by": version if suggestion else "", "fold": _FOLDS[fold],
        "revision": revision, "settled_at": settled_at.isoformat(), "annotations": answers,
    }  # fmt: skip


_encode = msgspec.json.Encoder().encode


def as_cells(record: dict[str, Any]) -> list[str]:
    """A record as the cells of a table, in the order of `COLUMNS`."""
    return [_cell(record[name]) for name in COLUMNS]


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list):
        return _encode(value).decode()
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
