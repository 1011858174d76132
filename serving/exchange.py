"""What serving/ adds to import and export: inquiries are answered as if they had been posted, and labels name the model."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

from feedback import jobs
from feedback.models import Inquiry, Job
from feedback.problems import Problem
from labeling.exchange.imports import Importer, Outcome, run_import
from labeling.exchange.label_import import new_inquiry
from labeling.exchange.labels import suggested_by
from labeling.exchange.rows import TEXT, Fault, Item
from serving.models import DecisionRecord
from serving.services import answer_inquiry

IMPORT = "import_inquiries"


@jobs.handler(IMPORT, queue="bulk")
def import_inquiries(running: jobs.Running) -> dict[str, Any]:
    """Answer and store the inquiries of a file."""
    return run_import(running, Importer(store, transactional=False))


def store(job: Job, items: Sequence[Item]) -> Outcome:
    """Answer each row in a transaction of its own; one that was answered before keeps its answer."""
    results = [_store(job, item) for item in items]
    return Outcome(
        Counter(word for word in results if isinstance(word, str)),
        [fault for fault in results if isinstance(fault, Fault)],
    )


def _store(job: Job, item: Item) -> str | Fault:
    if not item.text:
        return Fault(item.number, TEXT, "is empty: give the customer's text")
    known = Inquiry.objects.filter(project_id=job.project_id, external_id=item.external_id)
    if stored := known.values_list("request_sha", flat=True).first():
        same = bytes(stored) == new_inquiry(item).request_sha
        return "known" if same else Fault(item.number, "external_id", _TAKEN.format(item.external_id))
    try:
        answer = answer_inquiry(project_id=job.project_id, app_id=None, new=new_inquiry(item))
    except Problem as problem:
        return Fault(item.number, problem.field or "", problem.detail)
    return "stored" if answer.status == 201 else "known"


_TAKEN = "{!r} was used with another text or customer: give the row an external_id of its own"


@suggested_by
def versions(inquiries: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The version that suggested, for each inquiry that one has decided about."""
    rows = DecisionRecord.objects.filter(inquiry_id__in=inquiries)
    return dict(rows.values_list("inquiry_id", "model_name"))
