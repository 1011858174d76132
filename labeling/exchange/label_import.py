"""Labels that a project already had, as rows of a file: each is an inquiry with its settled category."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
from django.db import DataError, IntegrityError, transaction
from django.utils.text import slugify

from feedback import jobs
from feedback.models import Category, Inquiry, Job, Status
from feedback.services import NewInquiry, add_categories, record_inquiry
from feedback.texts import group_digest
from labeling import services
from labeling.exchange.imports import Importer, Outcome, run_import
from labeling.exchange.rows import LABEL, TEXT, Fault, Item
from labeling.models import Label, LabelSource, LabelTask, TaskKind

IMPORT = "import_labels"
# More new categories than this are hardly categories: the wrong column was named.
MAX_NEW_CATEGORIES = 500


@jobs.handler(IMPORT, queue="bulk")
def import_labels(running: jobs.Running) -> dict[str, Any]:
    """Import a file of labels."""
    return run_import(running, Importer(store))


def new_inquiry(item: Item) -> NewInquiry:
    """The inquiry that a row stands for."""
    fields = {"channel": item.channel, "customer": item.customer, "locale": item.locale, "text": item.text}
    sha = hashlib.sha256(msgspec.json.encode(fields, order="sorted")).digest()
    return NewInquiry(
        text=item.text, request_sha=sha, external_id=item.external_id, locale=item.locale, customer=item.customer,
        channel=item.channel, metadata=item.metadata,
    )  # fmt: skip


def store(job: Job, items: Sequence[Item]) -> Outcome:
    """Store a batch; a clash with somebody who stores the same rows at the same time is settled row by row."""
    names = _Names(job, items)
    try:
        with transaction.atomic():
            return _outcome([(item, _store(job, item, names)) for item in items], names)
    except (IntegrityError, DataError):
        return _outcome([(item, _alone(job, item, names)) for item in items], names)


def _outcome(results: Sequence[tuple[Item, str | Fault]], names: _Names) -> Outcome:
    counts = Counter(word for _, word in results if isinstance(word, str)) + Counter({"categories": names.made})
    return Outcome(counts, [fault for _, fault in results if isinstance(fault, Fault)])


def _alone(job: Job, item: Item, names: _Names) -> str | Fault:
    try:
        with transaction.atomic():
            return _store(job, item, names)
    except IntegrityError:
        return Fault(
            item.number, "external_id", "was stored by somebody else at this moment: import the file once more"
        )
    except DataError as error:
        return Fault(item.number, "", f"PostgreSQL refuses the row ({error}): send plain text")


class _Names:
    """Categories by key and by name, whatever their case; new ones are made where the import may."""

    def __init__(self, job: Job, items: Sequence[Item]) -> None:
        self.known: dict[str, int] = {}
        self.made = 0
        self.may_add = bool(job.params.get("add_categories"))
        self.full = int(job.checkpoint.get("counts", {}).get("categories", 0)) >= MAX_NEW_CATEGORIES
        for pk, key, name in Category.objects.filter(project_id=job.project_id, archived_at=None).values_list(
            "pk", "key", "name"
        ):
            self.known |= {name.casefold(): pk, key.casefold(): pk}
        new: dict[str, str] = {}
        for label in (i.label for i in items if i.label and self.find(i.label) is None):
            new.setdefault(key_of(label), label)
        if new and self.may_add and not self.full:
            made = add_categories(
                project_id=job.project_id, categories=[{"key": k, "name": v[:200]} for k, v in new.items()]
            )
            self.made = len(made)
            self.known |= {c.key.casefold(): c.pk for c in made} | {c.name.casefold(): c.pk for c in made}

    def find(self, label: str) -> int | None:
        return self.known.get(label.casefold()) or self.known.get(key_of(label))


def key_of(name: str) -> str:
    """The key of a category that a file calls `name`: its own words where they make a key, else a hash of them.

    >>> key_of("Card arrival"), key_of("card_arrival"), key_of("返金")
    ('card-arrival', 'card_arrival', 'c-fa5fb1e2')
    """
    return slugify(name)[:100] or "c-" + hashlib.sha256(name.encode()).hexdigest()[:8]


def _store(job: Job, item: Item, names: _Names) -> str | Fault:
    category = names.find(item.label) if item.label else None
    if item.label and category is None:
        return Fault(item.number, LABEL, _unknown(item.label, names))
    if not item.label and job.params.get("unlabeled") != "queue":
        return Fault(item.number, LABEL, "is empty: give a category, or import unlabeled rows as tasks")
    inquiry = _find(job.project_id, item)
    if inquiry is None and not item.text:
        return Fault(
            item.number, TEXT, f"is empty, and no inquiry has the external_id {item.external_id!r}: give the text"
        )
    if inquiry is not None and _differs(inquiry, item):
        return Fault(
            item.number, TEXT, "is not what the inquiry of this row says here: give the row an external_id of its own"
        )
    if category is None:
        return _queue(job, item, inquiry)
    return _label(job, item, inquiry, category)


def _unknown(label: str, names: _Names) -> str:
    if names.full and names.may_add:
        return f"{MAX_NEW_CATEGORIES} categories were made already: is {LABEL!r} the right column?"
    return f"there is no category {label[:80]!r}: make it, correct the row, or let the import make categories"


def _find(project_id: int, item: Item) -> Inquiry | None:
    own = Inquiry.objects.filter(project_id=project_id).select_related("label")
    if item.inquiry is not None and (named := own.filter(pk=item.inquiry).first()):
        return named
    return own.filter(external_id=item.external_id).first()


def _differs(inquiry: Inquiry, item: Item) -> bool:
    """Whether the row names an inquiry that says something else. A text that was masked when it was stored is known by its hash."""
    if not item.text or item.text == inquiry.text:
        return False
    known = bytes(inquiry.request_sha) == new_inquiry(item).request_sha
    return not known and bytes(inquiry.group_sha) != group_digest(item.text)


def _label(job: Job, item: Item, inquiry: Inquiry | None, category: int) -> str | Fault:
    made = inquiry is None
    if inquiry is None:
        inquiry = _record(job, item, Status.RESOLVED, category)
    label: Label | None = None if made else getattr(inquiry, "label", None)
    if label is not None and label.category_id == category:
        return "known"
    settled_here = label is not None and label.category_id is not None and label.source != LabelSource.IMPORTED
    if settled_here and not job.params.get("overwrite"):
        return Fault(
            item.number, LABEL, "people here have settled another category: change it here, or import with overwrite"
        )
    services.import_label(inquiry=inquiry, category_id=category)
    return "stored" if label is None else "changed"


def _queue(job: Job, item: Item, inquiry: Inquiry | None) -> str:
    """A row without a label becomes a task for the desk, once."""
    if inquiry is not None and (hasattr(inquiry, "label") or LabelTask.objects.filter(inquiry=inquiry).exists()):
        return "known"
    inquiry = inquiry or _record(job, item, Status.ANSWERED, None)
    services.open_task(inquiry=inquiry, kind=TaskKind.IMPORTED, overlap=job.project.overlap, priority=0.5, reason={})
    return "queued"


def _record(job: Job, item: Item, status: Status, category: int | None) -> Inquiry:
    return record_inquiry(
        project_id=job.project_id,
        app_id=None,
        new=new_inquiry(item),
        status=status,
        category_id=category,
        reply_id=None,
    )
