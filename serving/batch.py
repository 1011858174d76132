"""Prediction for a file: nothing of it becomes an inquiry, and what was predicted is kept piece by piece.

A batch of rows is answered first and then written: its lines, what was wrong with others, and how far the job came are one
transaction under the job's fencing token. So a job that was killed goes on after its last batch, and no row is answered
twice in the result. A result says nothing of what the texts say: rows are known by their place and their external_id.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from django.db import transaction
from django.utils import timezone

from feedback import jobs
from feedback.models import Job
from feedback.problems import Problem
from labeling.exchange.files import on_disk
from labeling.exchange.formats import FORMATS, Format, format_of
from labeling.exchange.imports import MAX_FAULTS, ask_for_import, go_past
from labeling.exchange.models import ExchangeChunk, ExchangeFile, ImportFault
from labeling.exchange.rows import TEXT, Fault, Item, Reading, Refused, Row, check
from serving import services
from serving.batch_results import make_parquet

KIND = "predict_file"
TAKEN = ("csv", "jsonl", "parquet")
BATCH = 256
MOST_UNFINISHED = 5
RESULT_KEPT = timedelta(days=7)
# The encoder's queue is shared with whoever waits for an answer: a file waits its turn instead of failing.
PAUSE_SECONDS, MOST_PAUSES = 1.0, 120
_encode = msgspec.json.Encoder().encode


def ask(*, project_id: int, name: str, pieces: Iterator[bytes], params: dict[str, Any]) -> Job:
    """Keep a file and ask for its predictions; the same file asked for again while it waits is that job.

    Raises `Refused` where the format is none of `TAKEN`, the file is empty, or the project has too many waiting.
    """
    chosen = format_of(name, str(params.get("format") or ""))
    result = str(params.get("result") or chosen.name)
    for given in (chosen.name, result):
        if given not in TAKEN:
            raise Refused(f"The format {given!r} cannot be predicted: choose one of {', '.join(TAKEN)}.")
    waiting = Job.objects.filter(project_id=project_id, kind=KIND, state__in=jobs.UNFINISHED).count()
    if waiting >= MOST_UNFINISHED:
        raise Refused(f"{waiting} files of this project are being predicted: wait for one of them, or cancel it.")
    wanted = {**params, "format": chosen.name, "result": result}
    return ask_for_import(kind=KIND, project_id=project_id, name=name, pieces=pieces, params=wanted)


@jobs.handler(KIND, queue="bulk")
def predict_file(running: jobs.Running) -> dict[str, Any]:
    """Predict the job's file from where the last attempt stopped; returns the counts and the number of the result."""
    job = running.job
    if not job.checkpoint.get("ended"):
        file = ExchangeFile.objects.filter(pk=job.params["file"]).first()
        if file is None:
            raise LookupError("the file is no longer here: send it again")
        with on_disk(file) as path:
            _predict(running, path)
        _end(running)
    return {
        **job.checkpoint["counts"],
        **{k: job.checkpoint[k] for k in ("file", "refused_file") if k in job.checkpoint},
    }


def _predict(running: jobs.Running, path: Path) -> None:
    job = running.job
    chosen = FORMATS[str(job.params["format"])]
    _begin(running, chosen, path)
    try:
        rows = chosen.read(path, Reading(str(job.params.get("encoding") or ""), dict(job.params.get("columns") or {})))
        go_past(rows, int(job.checkpoint["rows"]))
        while batch := list(islice(rows, BATCH)):
            _batch(running, batch)
            known = progress_of(job)
            running.report(min(known.share, 0.99), f"{known.done:,} rows predicted")
    except Refused as refused:
        with transaction.atomic():
            running.hold()
            running.save_checkpoint({**job.checkpoint, "refused_file": str(refused)})


def _begin(running: jobs.Running, chosen: Format, path: Path) -> None:
    """The first attempt makes the result; each notes where and when it began, by which the rest is estimated."""
    job = running.job
    with transaction.atomic():
        running.hold()
        known = job.checkpoint or {"rows": 0, "chunks": 0, "counts": {}, "file": _new_result(job).pk}
        total = max(chosen.count(path) - (chosen.name == "csv"), 0)
        began = {"total": total, "from": known["rows"], "began": timezone.now().isoformat()}
        running.save_checkpoint({**known, **began})


def _new_result(job: Job) -> ExchangeFile:
    name = f"{Path(str(job.params['name'])).stem}-predictions{FORMATS[str(job.params['result'])].suffixes[0]}"
    return ExchangeFile.objects.create(
        project_id=job.project_id, name=name[-200:], expires_at=timezone.now() + RESULT_KEPT
    )


def _batch(running: jobs.Running, batch: Sequence[Row | Fault]) -> None:
    lines = answered(running.job.project_id, batch)
    data = b"".join(_encode(line) + b"\n" for line in lines)
    faults = [line for line in lines if "error" in line]
    job = running.job
    with transaction.atomic():
        running.hold()
        known = job.checkpoint
        ExchangeChunk.objects.create(file_id=known["file"], number=known["chunks"], data=data)
        ExchangeFile.objects.filter(pk=known["file"]).update(expires_at=timezone.now() + RESULT_KEPT)
        room = max(MAX_FAULTS - int(known["counts"].get("refused", 0)), 0)
        ImportFault.objects.bulk_create(
            ImportFault(job_id=job.pk, row=f["row"], field=f["error"]["field"][:200], advice=f["error"]["detail"])
            for f in faults[:room]
        )
        counts = Counter(known["counts"]) + Counter(predicted=len(lines) - len(faults), refused=len(faults))
        running.save_checkpoint(
            {**known, "rows": known["rows"] + len(batch), "chunks": known["chunks"] + 1, "counts": counts}
        )


def answered(project_id: int, batch: Iterable[Row | Fault]) -> list[dict[str, Any]]:
    """A line of the result for each row, in order: what was predicted, or what is wrong with it."""
    checked = [_checked(row) for row in batch]
    items = [c for c in checked if isinstance(c, Item)]
    answers = iter(_patiently(project_id, items) if items else [])
    return [_refused(c) if isinstance(c, Fault) else _line(c, next(answers)) for c in checked]


def _checked(row: Row | Fault) -> Item | Fault:
    item = row if isinstance(row, Fault) else check(row)
    if isinstance(item, Item) and not item.text:
        return Fault(item.number, TEXT, "is empty: give the customer's text")
    return item


def _patiently(project_id: int, items: Sequence[Item]) -> list[dict[str, Any]]:
    for _ in range(MOST_PAUSES):
        try:
            return services.predict(
                project_id=project_id, texts=[i.text for i in items], locales=[i.locale for i in items]
            )
        except Problem as problem:
            if problem.status != 503:
                raise
            threading.Event().wait(problem.retry_after or PAUSE_SECONDS)
    raise TimeoutError("the encoder has had no time for this file")


def _line(item: Item, answer: dict[str, Any]) -> dict[str, Any]:
    named = {"external_id": item.external_id} if item.named else {}
    told = ("category", "confidence", "probabilities", "sentiment", "decision", "model")
    return {
        "row": item.number,
        **named,
        **{k: answer[k] for k in told},
        "reasons": [r["code"] for r in answer["reasons"]],
    }


def _refused(fault: Fault) -> dict[str, Any]:
    return {"row": fault.number, "error": {"field": fault.field, "detail": fault.advice}}


def _end(running: jobs.Running) -> None:
    """The upload goes; a result that the web process cannot write itself is made here."""
    job = running.job
    parquet = None
    if job.params["result"] == "parquet" and "refused_file" not in job.checkpoint:
        running.report(0.99, "writing Parquet")
        parquet = make_parquet(job.project_id, int(job.checkpoint["file"]))
    with transaction.atomic():
        running.hold()
        ExchangeFile.objects.filter(pk=job.params["file"]).delete()
        made = {"file": parquet} if parquet else {}
        running.save_checkpoint({**job.checkpoint, **made, "ended": True})
        if parquet:
            ExchangeFile.objects.filter(pk=parquet).update(expires_at=timezone.now() + RESULT_KEPT)


@dataclass(frozen=True)
class Progress:
    """How far a file is. `total` is 0 where the file does not say; `seconds` are those that are left, None where unknown."""

    done: int
    total: int
    seconds: float | None

    @property
    def share(self) -> float:
        return min(self.done / self.total, 1.0) if self.total else 0.0


def progress_of(job: Job, now: datetime | None = None) -> Progress:
    """By the rate of this attempt: what an earlier one did in its time says nothing about this machine."""
    known = job.checkpoint
    done, total = int(known.get("rows", 0)), int(known.get("total", 0))
    here = done - int(known.get("from", 0))
    if not (here and total and "began" in known):
        return Progress(done, total, None)
    elapsed = ((now or timezone.now()) - datetime.fromisoformat(known["began"])).total_seconds()
    return Progress(done, total, max(total - done, 0) * elapsed / here)
