"""Imports: a file is read row by row, checked, and stored in batches; a killed import goes on after its last batch.

What a batch stored, which rows it refused and how far it came are one transaction under the job's fencing token, so nothing
is counted twice and no fault is lost. A row that was stored before is recognised by its external_id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from django.db import transaction

from feedback import jobs
from feedback.audit import acting
from feedback.models import Job, User
from labeling.exchange.files import keep_file, on_disk
from labeling.exchange.formats import FORMATS, format_of
from labeling.exchange.models import ExchangeFile, ImportFault
from labeling.exchange.rows import Fault, Item, Reading, Refused, Rows, check

BATCH = 200
MAX_FAULTS = 100_000
MAX_UPLOAD = 1 << 30


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: how many rows per word ("stored", "known", …), and the rows that were refused."""

    counts: Mapping[str, int]
    faults: Sequence[Fault]


@dataclass(frozen=True)
class Importer:
    """What is done with checked rows. A `transactional` one is called inside the batch's transaction; another commits by
    itself, is idempotent, and may be handed a batch again."""

    store: Callable[[Job, Sequence[Item]], Outcome]
    transactional: bool = True


def ask_for_import(
    *,
    kind: str,
    project_id: int,
    name: str,
    pieces: Iterator[bytes],
    params: Mapping[str, Any],
    user: User | None = None,
) -> Job:
    """Keep a file and ask for its import. The same file asked for again while its import is unfinished is that import.

    Raises `Refused` where the format is unknown or the file empty.
    """
    chosen = format_of(name, str(params.get("format", "")))
    with transaction.atomic():
        file = keep_file(project_id=project_id, name=name, pieces=pieces)
        if file.size == 0:
            raise Refused("The file is empty: export it again.")
        wanted = {**params, "format": chosen.name, "sha256": file.sha256}
        unfinished = Job.objects.filter(project_id=project_id, kind=kind, state__in=jobs.UNFINISHED)
        for job in unfinished.filter(params__sha256=file.sha256):
            if {k: v for k, v in job.params.items() if k in wanted} == wanted:
                file.delete()
                return job
        given = {**wanted, "file": file.pk, "name": file.name, "user": user.pk if user else None}
        return jobs.enqueue(kind=kind, project_id=project_id, params=given, exclusive=False)


def run_import(running: jobs.Running, importer: Importer) -> dict[str, Any]:
    """Import the job's file from where the last attempt stopped; returns the counts."""
    job = running.job
    if job.checkpoint.get("ended"):
        return _result(job)
    file = ExchangeFile.objects.filter(pk=job.params["file"]).first()
    if file is None:
        _refuse(running, "The file is no longer here: send it again.")
    else:
        with on_disk(file) as path, acting(user=job.params.get("user"), job=job.pk):
            _import(running, importer, path)
    with transaction.atomic():
        running.hold()
        ExchangeFile.objects.filter(pk=job.params["file"]).delete()
        running.save_checkpoint({**job.checkpoint, "ended": True})
    return _result(job)


def _result(job: Job) -> dict[str, Any]:
    told = {"file": job.checkpoint["refused_file"]} if "refused_file" in job.checkpoint else {}
    return {**job.checkpoint["counts"], **told}


def _import(running: jobs.Running, importer: Importer, path: Path) -> None:
    job = running.job
    job.checkpoint = job.checkpoint or {"rows": 0, "counts": {}}
    reading = Reading(str(job.params.get("encoding") or ""), dict(job.params.get("columns") or {}))
    chosen, done = FORMATS[str(job.params["format"])], int(job.checkpoint["rows"])
    try:
        total = chosen.count(path)
        rows = chosen.read(path, reading)
        go_past(rows, done)
        while batch := list(islice(rows, BATCH)):
            _batch(running, importer, batch)
            done += len(batch)
            running.report(min(done / max(total, done + 1), 0.99) if total else 0.0, f"{done:,} rows read")
    except Refused as refused:
        _refuse(running, str(refused))


def go_past(rows: Rows, count: int) -> None:
    """Go past the rows that an earlier attempt has already stored."""
    for _ in islice(rows, count):
        pass


def _batch(running: jobs.Running, importer: Importer, batch: Sequence[Any]) -> None:
    checked = [row if isinstance(row, Fault) else check(row) for row in batch]
    items = [c for c in checked if isinstance(c, Item)]
    early = [c for c in checked if isinstance(c, Fault)]
    outside = None if importer.transactional else importer.store(running.job, items)
    with transaction.atomic():
        running.hold()
        outcome = outside or importer.store(running.job, items)
        _keep(running, len(batch), outcome.counts, sorted([*early, *outcome.faults], key=lambda f: f.number))


def _keep(running: jobs.Running, rows: int, counts: Mapping[str, int], faults: Sequence[Fault]) -> None:
    known = running.job.checkpoint
    total = Counter(known["counts"]) + Counter(counts) + Counter({"refused": len(faults)})
    room = max(MAX_FAULTS - int(known["counts"].get("refused", 0)), 0)
    ImportFault.objects.bulk_create(
        ImportFault(job_id=running.job.pk, row=f.number, field=f.field[:200], advice=f.advice) for f in faults[:room]
    )
    running.save_checkpoint({**known, "rows": known["rows"] + rows, "counts": dict(total)})


def _refuse(running: jobs.Running, advice: str) -> None:
    """The file, or the rest of it, cannot be read: a fault of row 0, which concerns the file."""
    running.job.checkpoint = running.job.checkpoint or {"rows": 0, "counts": {}}
    with transaction.atomic():
        running.hold()
        ImportFault.objects.get_or_create(job_id=running.job.pk, row=0, field="", advice=advice)
        running.save_checkpoint({**running.job.checkpoint, "refused_file": advice})
