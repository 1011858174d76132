"""What was found about the labels of a run before it trained: as a page, and as the file that is kept with the run."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from feedback.visits import EVERYBODY, Visitor, page
from learning.models import TrainingRun


@page(*EVERYBODY)
def report(request: HttpRequest, who: Visitor, run_id: int) -> HttpResponse:
    """Checks, schema, ranges, statistics, correlations and labels by fold."""
    run = _run(who, run_id)
    return render(request, "learning/data_report.html", {"project": who.project, "run": run, "found": run.validation})


@page(*EVERYBODY)
def report_file(request: HttpRequest, who: Visitor, run_id: int) -> HttpResponse:
    """The record itself, to be kept elsewhere."""
    run = _run(who, run_id)
    if not run.report:
        raise Http404(_("This run was made before labels were checked."))
    name = f"labels-of-run-{run.pk}.html"
    return HttpResponse(run.report, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _run(who: Visitor, run_id: int) -> TrainingRun:
    run = TrainingRun.objects.filter(project=who.project, pk=run_id).select_related("model").first()
    if run is None:
        raise Http404(_("There is no such run in this project."))
    return run
