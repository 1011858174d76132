"""POST /api/v1/predict/files and /predict/stream: many predictions, of a file by a job or line by line at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from feedback import jobs, limits
from feedback.http import endpoint, explain, json_response, read_body
from feedback.keys import Principal
from feedback.models import Job, JobState
from feedback.problems import Problem, invalid, not_found
from feedback.texts import fault_in
from labeling.exchange.api import attachment
from labeling.exchange.csv_files import ENCODINGS
from labeling.exchange.files import PIECE
from labeling.exchange.formats import FORMATS
from labeling.exchange.imports import MAX_UPLOAD
from labeling.exchange.models import ExchangeFile, ImportFault
from labeling.exchange.rows import Refused
from serving import batch, batch_results, services
from serving.api import Locale, Short, Text

log = logging.getLogger(__name__)
PARAMETERS = ("name", "format", "result", "encoding", "text_column", "project")
SHOWN_FAULTS = 100
STREAM_BATCH = 64
NDJSON = "application/x-ndjson"
MEDIA = {"text/csv": "csv", NDJSON: "jsonl", "application/jsonl": "jsonl", "application/vnd.apache.parquet": "parquet"}


class LineIn(msgspec.Struct, forbid_unknown_fields=True):
    """A line of a stream: a text, and the caller's own name for it."""

    text: Text
    locale: Locale | None = None
    external_id: Short | None = None


@endpoint("POST", scope="inquiries:write")
def predict_files(request: HttpRequest, principal: Principal) -> HttpResponse:
    """Keep a file (CSV, JSON Lines or Parquet, as the body) and predict it in the background. Nothing becomes an inquiry."""
    params = _params(request)
    principal.require_project(request.GET.get("project"))
    name = request.GET.get("name") or f"file{FORMATS[params['format']].suffixes[0] if params['format'] else ''}"
    try:
        job = batch.ask(project_id=principal.project_id, name=name, pieces=_pieces(request), params=params)
    except Refused as refused:
        raise Problem(422, "refused-file", str(refused)) from refused
    return json_response(payload(job), status=202)


def _params(request: HttpRequest) -> dict[str, Any]:
    given = request.GET
    for name in given:
        if name not in PARAMETERS:
            said = f"There is no parameter {name!r}. Use {', '.join(PARAMETERS)}."
            raise Problem(422, "unknown-field", said, field=name)
    for name, values in (("format", batch.TAKEN), ("result", batch.TAKEN), ("encoding", ENCODINGS)):
        if given.get(name) and given[name] not in values:
            raise invalid(name, f"Choose one of {', '.join(values)}.")
    for name in ("name", "text_column"):
        if len(given.get(name, "")) > 200 or not given.get(name, "").isprintable():
            raise invalid(name, "Use up to 200 plain characters.")
    known = "" if given.get("name") else MEDIA.get((request.content_type or "").lower(), "")
    return {
        "format": given.get("format") or known, "result": given.get("result", ""), "encoding": given.get("encoding", ""),
        "columns": {"text": given["text_column"]} if given.get("text_column") else {},
    }  # fmt: skip


def _pieces(request: HttpRequest) -> Iterator[bytes]:
    """The body as it comes: a piece at a time is in memory."""
    size = 0
    while piece := request.read(PIECE):
        size += len(piece)
        if size > MAX_UPLOAD:
            raise Problem(413, "too-large", f"A file may have up to {MAX_UPLOAD >> 20} MiB: split it.")
        yield piece


@endpoint("GET", scope="inquiries:write")
def predict_file(request: HttpRequest, principal: Principal, prediction_id: int) -> HttpResponse:
    """How far a file is, how long it will take, and which rows were refused."""
    return json_response(payload(_own(principal, request, prediction_id)))


@endpoint("GET", scope="inquiries:write")
def predict_result(request: HttpRequest, principal: Principal, prediction_id: int) -> HttpResponseBase:
    """The predictions of a file, row by row in its order; 409 until the job is done."""
    job = _own(principal, request, prediction_id)
    if job.state != JobState.DONE:
        raise Problem(409, "not-done", f"The file is not done: it is {job.state}.", retry_after=2)
    file = ExchangeFile.objects.filter(pk=job.result.get("file"), project_id=principal.project_id).first()
    if file is None:
        raise not_found("result: it is kept for seven days and was removed, so send the file again,")
    made = str(job.params["result"])
    response = StreamingHttpResponse(batch_results.stream(made, file.pk), content_type=FORMATS[made].media_type)
    return attachment(response, file.name.encode("ascii", "replace").decode().replace('"', "_"))


@endpoint("POST", scope="inquiries:write")
def predict_cancel(request: HttpRequest, principal: Principal, prediction_id: int) -> HttpResponse:
    """Stop a file: at once where it waits, after its present batch where it runs."""
    job = _own(principal, request, prediction_id)
    if not jobs.cancel(job.pk):
        raise Problem(409, "already-ended", f"The job has already ended: it is {job.state}.")
    job.refresh_from_db()
    return json_response(payload(job), status=202)


def _own(principal: Principal, request: HttpRequest, prediction_id: int) -> Job:
    principal.require_project(request.GET.get("project"))
    known = Job.objects.filter(pk=prediction_id, project_id=principal.project_id, kind=batch.KIND)
    if (job := known.first()) is None:
        raise not_found("prediction")
    return job


def payload(job: Job) -> dict[str, Any]:
    """The state of a file's prediction."""
    known = batch.progress_of(job)
    counts = job.checkpoint.get("counts", {})
    faults = ImportFault.objects.filter(job=job).order_by("pk")[:SHOWN_FAULTS] if counts.get("refused") else ()
    runs = job.state == JobState.RUNNING
    return {
        "id": job.pk, "state": job.state, "progress": 1.0 if job.state == JobState.DONE else round(known.share, 4),
        "rows": known.done, "eta_seconds": round(known.seconds, 1) if runs and known.seconds is not None else None,
        "predicted": counts.get("predicted", 0), "refused": counts.get("refused", 0),
        "refused_rows": [{"row": f.row, "field": f.field, "detail": f.advice} for f in faults],
        "problem": job.checkpoint.get("refused_file") or (job.errors[-1] if job.errors else None),
        "result": f"/api/v1/predict/files/{job.pk}/result" if job.state == JobState.DONE else None,
    }  # fmt: skip


@endpoint("POST", scope="inquiries:write")
def predict_stream(request: HttpRequest, principal: Principal) -> HttpResponseBase:
    """A line of NDJSON for each line of NDJSON, in order, as soon as its batch is done; a wrong line costs that line alone."""
    principal.require_project(request.GET.get("project"))
    if (request.content_type or "").lower() != NDJSON:
        raise Problem(415, "unsupported-media-type", f"Send lines of JSON as {NDJSON}.")
    lines = [line for line in enumerate(read_body(request).splitlines(), start=1) if line[1].strip()]
    if not lines:
        raise invalid("", "The body has no line: send one object per line.")
    limits.spend(request, principal, len(lines) - 1)
    return StreamingHttpResponse(_answers(principal.project_id, lines), content_type=NDJSON)


def _answers(project_id: int, lines: list[tuple[int, bytes]]) -> Iterator[bytes]:
    """Batches small enough that the first lines are there soon. What fails when the answer has begun is said in its lines."""
    waiting = iter(lines)
    while chunk := list(islice(waiting, STREAM_BATCH)):
        given = [(number, _line_in(line)) for number, line in chunk]
        good = [one for _, one in given if isinstance(one, LineIn)]
        try:
            answers = iter(
                services.predict(
                    project_id=project_id, texts=[g.text for g in good], locales=[g.locale or "" for g in good]
                )
            )
            yield b"".join(_line_out(n, one if isinstance(one, Problem) else (one, next(answers))) for n, one in given)
        except Problem as problem:
            yield b"".join(_line_out(number, problem) for number, _ in given)
        except Exception:
            log.exception("a stream of predictions broke off at line %s", chunk[0][0])
            broken = Problem(500, "internal", "Something went wrong on our side: send this line again.")
            yield b"".join(_line_out(number, broken) for number, _ in given)


def _line_in(line: bytes) -> LineIn | Problem:
    try:
        given = msgspec.json.decode(line, type=LineIn)
    except msgspec.ValidationError as error:
        return explain(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Problem(400, "malformed", f"The line is no valid JSON: {error}.")
    fault = fault_in(given.text)
    return invalid("text", f"The text {fault}.") if fault else given


def _line_out(number: int, what: Problem | tuple[LineIn, dict[str, Any]]) -> bytes:
    told: dict[str, Any] = {"line": number}
    if isinstance(what, Problem):
        told["error"] = {"type": f"urn:enso:problem:{what.kind}", "field": what.field, "detail": what.detail}
    else:
        line, answer = what
        told |= ({"external_id": line.external_id} if line.external_id else {}) | answer
    return msgspec.json.encode(told) + b"\n"
