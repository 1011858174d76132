"""Models and rollout: which versions there are, which is on trial and how it does, and putting the earlier one back."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from feedback.problems import Problem
from feedback.visits import EVERYBODY, LEADS, Visitor, page
from serving import model_figures, registry, rollouts, rollouts_api
from serving.models import ModelVersion, Rollout, RolloutSettings, Stage


class SettingsForm(forms.ModelForm):  # type: ignore[type-arg]
    """How new versions come into service."""

    class Meta:
        model = RolloutSettings
        fields = (
            "mode", "minimum_per_arm", "minimum_audited", "maximum_looks", "look_minutes", "most_disagreement", "slow_ms",
        )  # fmt: skip
        labels = {
            "mode": gettext_lazy("A version that passed its gates serves"),
            "minimum_per_arm": gettext_lazy("Customers in the smaller arm, per step"),
            "minimum_audited": gettext_lazy("Audited answers before everybody gets it"),
            "maximum_looks": gettext_lazy("Looks after which a step says that it waits too long"),
            "look_minutes": gettext_lazy("Minutes between two looks"),
            "most_disagreement": gettext_lazy("Largest share of other answers in the shadow"),
            "slow_ms": gettext_lazy("Slow means more than (ms)"),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["mode"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [
            ("direct", _("at once")), ("stepwise", _("step by step, beside the version that serves")),
        ]  # fmt: skip


class PlannerForm(forms.Form):
    """An A/B test to be planned; shares are typed in percent."""

    base = forms.FloatField(label=gettext_lazy("Right answers now (%)"), min_value=1, max_value=99, initial=80)
    drop = forms.FloatField(label=gettext_lazy("Drop to be seen (points)"), min_value=0.1, max_value=50, initial=5)
    power = forms.FloatField(label=gettext_lazy("Power (%)"), min_value=50, max_value=99, initial=80)
    per_day = forms.FloatField(label=gettext_lazy("Customers a day"), min_value=1, max_value=1e8, initial=1000)

    def plan(self) -> dict[str, Any] | None:
        given = (
            self.cleaned_data if self.is_bound and self.is_valid() else {k: f.initial for k, f in self.fields.items()}
        )
        try:
            return rollouts_api.plan(
                base=given["base"] / 100, drop=given["drop"] / 100, power=given["power"] / 100, alpha=0.05, per_day=given["per_day"]
            )  # fmt: skip
        except Problem:
            self.add_error("drop", _("The drop is larger than what there is to lose.")) if self.is_bound else None
            return None


@never_cache
@page(*EVERYBODY)
def models_page(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The whole page; GET parameters are those of the planner."""
    return _render(request, who)


def _render(request: HttpRequest, who: Visitor, form: SettingsForm | None = None, status: int = 200) -> HttpResponse:
    pk = who.project.pk
    asked = any(name in request.GET for name in PlannerForm.base_fields)
    planner = PlannerForm(request.GET if asked else None)
    versions = model_figures.versions(pk)
    archived = {v["encoder"] for v in versions if v["stage"] == Stage.ARCHIVED}
    context = {
        "project": who.project, "manages": bool(who.roles & LEADS), "versions": versions, "trials": model_figures.on_trial(pk),
        "past": model_figures.past(pk), "planner": planner, "plan": planner.plan(),
        "serving": [{**v, "back": v["encoder"] in archived} for v in versions if v["serves"]],
        "form": form or SettingsForm(instance=RolloutSettings.of(pk)),
    }  # fmt: skip
    return render(request, "serving/models.html", context, status=status)


def _settings(request: HttpRequest, who: Visitor) -> HttpResponse:
    form = SettingsForm(request.POST, instance=RolloutSettings.of(who.project.pk))
    if not form.is_valid():
        return _render(request, who, form, status=422)
    form.save()
    messages.success(request, _("Kept. A rollout that is under way keeps the limits it began with."))
    return redirect("model-versions", who.project.slug)


@never_cache
@page(*LEADS)
@require_POST
def rollout_settings(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Store how versions come into service."""
    return _settings(request, who)


@page(*LEADS)
@require_POST
def rollout_act(request: HttpRequest, who: Visitor, rollout_id: int, move: str) -> HttpResponse:
    """Hold, resume, go on or abort."""
    if move not in rollouts_api.MOVES or not Rollout.objects.filter(pk=rollout_id, project=who.project).exists():
        raise Http404(_("There is no such rollout in this project."))
    return _done(request, who, lambda: rollouts_api.MOVES[move](rollout_id=rollout_id, by=who.user.get_username()))


@page(*LEADS)
@require_POST
def model_act(request: HttpRequest, who: Visitor, number: int, deed: str) -> HttpResponse:
    """Try a version (stepwise, ab), promote it, or put back what served before it (rollback)."""
    version = ModelVersion.objects.filter(project=who.project, number=number).first()
    if version is None or deed not in ("stepwise", "ab", "promote", "rollback"):
        raise Http404(_("There is no such version in this project."))
    pk, by = version.pk, who.user.get_username()
    if deed in ("stepwise", "ab"):
        return _done(request, who, lambda: rollouts.start(version_id=pk, kind=deed, by=by))
    if deed == "promote":
        return _done(request, who, lambda: registry.promote(version_id=pk, by=by))
    sha = version.encoder_sha
    return _done(request, who, lambda: registry.rollback(project_id=who.project.pk, encoder_sha=sha, by=by))


def _done(request: HttpRequest, who: Visitor, deed: Any) -> HttpResponse:
    try:
        deed()
    except Problem as problem:
        messages.warning(request, problem.detail)
    return redirect("model-versions", who.project.slug)
