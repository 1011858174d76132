"""The drift page, the simulation of the loop, and the files of every chart."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from feedback.charts import Chart
from feedback.models import Project
from feedback.visits import EVERYBODY, LEADS, Visitor, page
from labeling import selectors as labeling_selectors
from learning import drift_figures, drift_tasks, simulation, trends
from learning.models import DriftSettings, GuardReport, RetrainingVerdict
from learning.polled import polled

# A file's look: it has no style sheet beside it, and is printed.
FILE_STYLE = (
    "text{font:12px sans-serif;fill:#59616b}.grid{stroke:#dad6cd}.limit{stroke:#a62b2b;stroke-width:1.5;stroke-dasharray:6 4}"
    ".limit-name{fill:#a62b2b}.line{fill:none;stroke-width:2}.line.dashed{stroke-dasharray:2 5}.mark{fill:#fff;stroke-width:2}"
    ".line.model,.mark.model{stroke:#0b5f6b}.line.person,.mark.person{stroke:#5b3fa3}.line.quiet,.mark.quiet{stroke:#59616b}"
    ".line.bad,.mark.bad{stroke:#a62b2b}.band{opacity:.16}.band.model{fill:#0b5f6b}.band.person{fill:#5b3fa3}"
)


class SettingsForm(forms.ModelForm):  # type: ignore[type-arg]
    """When a project is looked at, and when it is retrained."""

    class Meta:
        model = DriftSettings
        fields = (
            "check_after", "false_alarms", "reference_size", "least_accuracy", "most_drop", "audited", "critical_checks",
            "cool_down_days", "alpha_bound", "guard_weights", "error_cost", "cpu_hour_cost",
        )  # fmt: skip
        labels = {
            "check_after": gettext_lazy("New inquiries after which a check is made at once"),
            "false_alarms": gettext_lazy("Chance of one false alarm in a month (0–1)"),
            "reference_size": gettext_lazy("Texts in a reference"),
            "least_accuracy": gettext_lazy("Retrain when audited accuracy is below (0–1)"),
            "most_drop": gettext_lazy("Retrain when it has fallen by more than (0–1)"),
            "audited": gettext_lazy("Audited answers that a verdict needs"),
            "critical_checks": gettext_lazy("Critical checks in a row that ask for a training"),
            "cool_down_days": gettext_lazy("Days between two trainings that a verdict asks for"),
            "alpha_bound": gettext_lazy("Most that the model may learn from itself (0–1)"),
            "guard_weights": gettext_lazy("Weigh labels down where that bound is passed"),
            "error_cost": gettext_lazy("What a wrong answer costs, in labels"),
            "cpu_hour_cost": gettext_lazy("What an hour of computing costs, in labels"),
        }
        help_texts = dict.fromkeys(fields, "")


class SimulationForm(forms.Form):
    """A loop to be played forward."""

    alpha = forms.FloatField(
        label=gettext_lazy("α: share the model learns from itself (0–1)"), min_value=0, max_value=0.99
    )
    power = forms.FloatField(
        label=gettext_lazy("How much the model favours the likelier class (1: not at all)"), min_value=0.1, max_value=10
    )
    bound = forms.FloatField(label=gettext_lazy("Bound to compare with (0–1)"), min_value=0, max_value=0.99)
    rounds = forms.IntegerField(label=gettext_lazy("Trainings"), min_value=1, max_value=60)


@page(*EVERYBODY)
def drift(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The whole page; `?report=` shows an earlier check."""
    return _drift(request, who)


def _drift(request: HttpRequest, who: Visitor, form: SettingsForm | None = None, status: int = 200) -> HttpResponse:
    leads = bool(who.roles & LEADS)
    settings = form or SettingsForm(instance=DriftSettings.of(who.project.pk))
    context = {
        **drift_figures.figures(who.project, _report_id(request)), "leads": leads, "form": settings if leads else None,
        "poll": reverse("drift-live", args=[who.project.slug]) + _asked(request),
    }  # fmt: skip
    return render(request, "learning/drift.html", context, status=status)


@page(*EVERYBODY)
def drift_live(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The figures alone, or 304 where nothing has changed since the caller's ETag."""
    context = drift_figures.figures(who.project, _report_id(request))
    return polled(request, render_to_string("learning/drift_figures.html", context, request=request))


def _report_id(request: HttpRequest) -> int | None:
    given = request.GET.get("report", "")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else None


def _asked(request: HttpRequest) -> str:
    found = _report_id(request)
    return "" if found is None else f"?report={found}"


@require_POST
@page(*LEADS)
def drift_check(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Check now."""
    drift_tasks.ask(project_id=who.project.pk)
    messages.success(request, _("A check is on its way. This page follows it by itself."))
    return redirect("drift", who.project.slug)


@require_POST
@page(*LEADS)
def drift_settings(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Store when a project is looked at and retrained."""
    form = SettingsForm(request.POST, instance=DriftSettings.of(who.project.pk))
    if not form.is_valid():
        return _drift(request, who, form, status=422)
    form.save()
    messages.success(request, _("Kept. The next check goes by it."))
    return redirect("drift", who.project.slug)


@page(*EVERYBODY)
def drift_simulation(request: HttpRequest, who: Visitor) -> HttpResponse:
    """What would happen at this α."""
    form, given = _simulated(request, who.project)
    found = simulation.play(given)
    context = {
        "project": who.project, "form": form, "given": given, "found": found, "kinds": trends.FILES,
        "words": simulation.words(found, given),
    }  # fmt: skip
    return render(request, "learning/simulation.html", context, status=422 if form.errors else 200)


def _simulated(request: HttpRequest, project: Project) -> tuple[SimulationForm, simulation.Setting]:
    """The form, and what to play: what was typed, or what was measured."""
    guard = GuardReport.objects.filter(project=project).order_by("-created_at", "-pk").first()
    names = labeling_selectors.category_names(project_id=project.pk, revision=project.revision)
    known = simulation.Setting.of(guard, bound=DriftSettings.of(project.pk).alpha_bound, names=names)
    initial = {name: getattr(known, name) for name in SimulationForm.base_fields}
    if not any(name in request.GET for name in initial):
        return SimulationForm(initial=initial), known
    form = SimulationForm({**initial, **request.GET.dict()})
    if not form.is_valid():
        return form, known
    return form, simulation.Setting(known.shares, measured=known.measured, **form.cleaned_data)


@require_safe
@page(*EVERYBODY)
def chart(request: HttpRequest, who: Visitor, chart: str, kind: str) -> HttpResponse:
    """A chart as a file: its table (csv) or its drawing (svg)."""
    found = _chart(request, who.project, chart) if kind in trends.FILES else None
    if found is None:
        raise Http404(_("There is no such chart."))
    response = _file(found, kind)
    response["Content-Disposition"] = f'attachment; filename="{who.project.slug}-{chart}.{kind}"'
    return response


def _chart(request: HttpRequest, project: Project, name: str) -> Chart | None:
    if name == "simulation":
        return simulation.play(_simulated(request, project)[1]).chart
    if name == "decay":
        verdict = RetrainingVerdict.objects.filter(project=project).order_by("-created_at", "-pk").first()
        return drift_figures.decay_chart(verdict, DriftSettings.of(project.pk)) if verdict else None
    return trends.BY_NAME[name](project) if name in trends.BY_NAME else None


def _file(found: Chart, kind: str) -> HttpResponse:
    if kind == "csv":
        return HttpResponse("\ufeff" + found.as_csv(), content_type="text/csv; charset=utf-8")
    context: dict[str, Any] = {"d": found.drawing, "title": found.title, "style": FILE_STYLE}
    return HttpResponse(render_to_string("chart.svg", context).strip(), content_type="image/svg+xml")
