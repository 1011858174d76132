"""The page where leads bring labels and inquiries in and out: what runs, how far it is, and what was refused."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.http.response import HttpResponseNotModified
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST, require_safe

from feedback import jobs
from feedback.models import Job, JobState, Role
from labeling.access import Visitor, page
from labeling.exchange.api import attachment
from labeling.exchange.csv_files import ENCODINGS
from labeling.exchange.exports import EXPORT, filename, stream
from labeling.exchange.faults import fault_file
from labeling.exchange.files import pieces_of
from labeling.exchange.formats import FORMATS, STREAMED
from labeling.exchange.imports import MAX_UPLOAD, ask_for_import
from labeling.exchange.label_import import IMPORT
from labeling.exchange.models import ExchangeFile, ImportFault
from labeling.exchange.rows import Refused

LEADS = (Role.LEAD, Role.ADMIN)
INQUIRIES = "import_inquiries"  # its handler is serving's
KINDS = (IMPORT, INQUIRIES, EXPORT)
SHOWN = 20
# Words of the counts, in the order in which they are shown.
WORDS = ("stored", "changed", "queued", "known", "refused", "categories", "labels")


@page(*LEADS)
@require_safe
def exchange(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Both forms and the latest jobs."""
    return _page(request, who)


def _page(request: HttpRequest, who: Visitor, fault: str = "", status: int = 200) -> HttpResponse:
    context = {
        "project": who.project, "formats": list(FORMATS.values()), "encodings": ENCODINGS[1:], "fault": fault, "given": request.POST,
        "limit": MAX_UPLOAD >> 20, "poll": reverse("exchange-live", args=[who.project.slug]), "rows": job_rows(who),
    }  # fmt: skip
    return render(request, "labeling/exchange.html", context, status=status)


@page(*LEADS)
@require_safe
def live(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The list of jobs alone, or 304 where nothing has changed since the caller's ETag."""
    body = render_to_string(
        "labeling/exchange_jobs.html", {"project": who.project, "rows": job_rows(who)}, request=request
    )
    # A page's CSRF token differs each time: it says nothing about what is shown.
    shown = re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"', "", body)
    etag = f'"{hashlib.sha256(shown.encode()).hexdigest()[:32]}"'
    same = etag in request.headers.get("If-None-Match", "")
    response: HttpResponse = HttpResponseNotModified() if same else HttpResponse(body)
    response["ETag"], response["Cache-Control"] = etag, "private, no-cache"
    return response


def job_rows(who: Visitor) -> list[dict[str, Any]]:
    """The project's latest imports and exports, in words."""
    found = list(Job.objects.filter(project=who.project, kind__in=KINDS).order_by("-created_at")[:SHOWN])
    refused = set(ImportFault.objects.filter(job__in=found).values_list("job_id", flat=True).distinct())
    names = {e.value: e for e in JobState}
    files = set(
        ExchangeFile.objects.filter(pk__in=[j.result.get("file") for j in found if j.kind == EXPORT]).values_list(
            "pk", flat=True
        )
    )
    return [
        {
            "job": j, "what": _what(j), "state": _state(names[j.state]), "tone": _TONES.get(j.state, ""),
            "percent": round(100 * j.progress),
            "runs": j.state in jobs.UNFINISHED, "counts": _counts(j), "refused": j.pk in refused, "why": _why(j),
            "file": j.kind == EXPORT and j.result.get("file") in files,
        }
        for j in found
    ]  # fmt: skip


_TONES: dict[str, str] = {
    JobState.DONE: "ok",
    JobState.FAILED: "warn",
    JobState.DEAD: "bad",
    JobState.CANCELLED: "warn",
}


def _what(job: Job) -> str:
    name = str(job.params.get("name") or FORMATS[str(job.params.get("format", "csv"))].label)
    words = {
        IMPORT: _("Labels from %(file)s"),
        INQUIRIES: _("Inquiries from %(file)s"),
        EXPORT: _("Labels as %(file)s"),
    }
    return words[job.kind] % {"file": name}


def _state(state: JobState) -> str:
    return {
        JobState.QUEUED: _("Waiting for a worker"),
        JobState.RUNNING: _("Running"),
        JobState.DONE: _("Done"),
        JobState.FAILED: _("Failed, will be tried again"),
        JobState.CANCELLED: _("Cancelled"),
        JobState.DEAD: _("Failed"),
    }[state]


def _counts(job: Job) -> list[str]:
    known = job.result or job.checkpoint.get("counts", {})
    sentences = {
        "stored": _("%(n)s stored"),
        "changed": _("%(n)s changed"),
        "queued": _("%(n)s queued for labeling"),
        "known": _("%(n)s known already"),
        "refused": _("%(n)s refused"),
        "categories": _("%(n)s new categories"),
        "labels": _("%(n)s labels"),
    }
    return [sentences[w] % {"n": f"{known[w]:,}"} for w in WORDS if known.get(w)]


def _why(job: Job) -> str:
    """What is wrong with the file as a whole, or with the job."""
    if job.kind != EXPORT and "file" in job.result:
        return str(job.result["file"])
    return job.errors[-1] if job.errors and job.state in (JobState.DEAD, JobState.FAILED) else ""


@page(*LEADS)
@require_POST
def import_file(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Keep the uploaded file and ask for its import."""
    given, upload = request.POST, request.FILES.get("file")
    kind = {"labels": IMPORT, "inquiries": INQUIRIES}.get(given.get("kind", ""))
    if kind is None:
        return _page(request, who, _("Choose whether the file holds labels or inquiries."), status=422)
    if upload is None or isinstance(upload, list):
        return _page(request, who, _("Choose a file."), status=422)
    if (upload.size or 0) > MAX_UPLOAD:
        return _page(
            request, who, _("The file is larger than %(n)s MiB: split it.") % {"n": MAX_UPLOAD >> 20}, status=422
        )
    try:
        ask_for_import(
            kind=kind,
            project_id=who.project.pk,
            name=str(upload.name),
            pieces=upload.chunks(),
            params=_params(request),
            user=who.user,
        )
    except Refused as refused:
        return _page(request, who, str(refused), status=422)
    return redirect("exchange", slug=who.project.slug)


def _params(request: HttpRequest) -> dict[str, Any]:
    given = request.POST
    columns = {
        name: given[f"{name}_column"].strip()[:200]
        for name in ("text", "label")
        if given.get(f"{name}_column", "").strip()
    }
    chosen = {name: True for name in ("add_categories", "overwrite") if given.get(name)}
    unlabeled = {"unlabeled": "queue"} if given.get("unlabeled") else {}
    return {
        "format": given.get("format", ""),
        "encoding": given.get("encoding", ""),
        "columns": columns,
        **chosen,
        **unlabeled,
    }


@page(*LEADS)
@require_POST
def export(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Ask for a file in a format that the web process does not write."""
    name = request.POST.get("format", "")
    if name not in FORMATS:
        return _page(request, who, _("Choose a format."), status=422)
    if name in STREAMED:
        return redirect(f"{reverse('exchange-labels', args=[who.project.slug])}?format={name}")
    jobs.enqueue(kind=EXPORT, project_id=who.project.pk, params={"format": name, "user": who.user.pk}, exclusive=False)
    return redirect("exchange", slug=who.project.slug)


@page(*LEADS)
@require_GET
def labels(request: HttpRequest, who: Visitor) -> HttpResponseBase:
    """All settled labels, streamed; CSV with a byte order mark, by which spreadsheets know UTF-8."""
    name = request.GET.get("format", "csv")
    if name not in STREAMED:
        raise Http404(_("There is no such format."))
    pieces = stream(name, project_id=who.project.pk, bom=True)
    return attachment(
        StreamingHttpResponse(pieces, content_type=FORMATS[name].media_type), filename(who.project.slug, name)
    )


@page(*LEADS)
@require_GET
def faults(request: HttpRequest, who: Visitor, exchange_id: int) -> HttpResponseBase:
    """The rows that an import refused, as CSV."""
    job = _own(who, exchange_id)
    response = StreamingHttpResponse(fault_file(job.pk), content_type="text/csv; charset=utf-8")
    return attachment(response, f"{who.project.slug}-refused-{job.pk}.csv")


@page(*LEADS)
@require_GET
def made(request: HttpRequest, who: Visitor, exchange_id: int) -> HttpResponseBase:
    """The file that an export made."""
    job = _own(who, exchange_id)
    file = (
        ExchangeFile.objects.filter(pk=job.result.get("file"), project=who.project).first()
        if job.kind == EXPORT
        else None
    )
    if file is None:
        raise Http404(_("This file is no longer kept: make it again."))
    response = StreamingHttpResponse(pieces_of(file.pk), content_type=FORMATS[job.params["format"]].media_type)
    response["Content-Length"] = str(file.size)
    return attachment(response, file.name)


@page(*LEADS)
@require_POST
def cancel(request: HttpRequest, who: Visitor, exchange_id: int) -> HttpResponse:
    """Stop an import or export; what is stored stays."""
    jobs.cancel(_own(who, exchange_id).pk)
    return redirect("exchange", slug=who.project.slug)


def _own(who: Visitor, exchange_id: int) -> Job:
    found = Job.objects.filter(pk=exchange_id, project=who.project, kind__in=KINDS).first()
    if found is None:
        raise Http404(_("There is no such import or export in this project."))
    return found
