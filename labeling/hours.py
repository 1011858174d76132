"""Opening hours, targets and alerts of a project: what the console's clocks go by."""

from __future__ import annotations

import re
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeling import escalations
from labeling.access import LEADS, Visitor, page
from labeling.case_models import ServiceLevel
from labeling.case_page import LEVEL_NAMES
from labeling.escalation import LEVELS, format_hours, parse_hours

DAYS = [
    gettext_lazy("Monday"), gettext_lazy("Tuesday"), gettext_lazy("Wednesday"), gettext_lazy("Thursday"), gettext_lazy("Friday"),
    gettext_lazy("Saturday"), gettext_lazy("Sunday"),
]  # fmt: skip
MAX_MINUTES = 60 * 24 * 90
MAX_HOLIDAYS, MAX_EMAILS, MAX_TIERS = 400, 20, 50


class ServiceLevelForm(forms.Form):
    """One field per weekday and per target; lists are one entry a line."""

    zone = forms.CharField(
        label=gettext_lazy("Time zone"), max_length=64, widget=forms.TextInput(attrs={"list": "zones"})
    )
    holidays = forms.CharField(
        label=gettext_lazy("Holidays"), required=False, max_length=8000, widget=forms.Textarea(attrs={"rows": 4}),
        help_text=gettext_lazy("One date a line, such as 2027-01-01. The clocks stand still all day."),
    )  # fmt: skip
    value_key = forms.CharField(
        label=gettext_lazy("Customer value"), max_length=60,
        help_text=gettext_lazy("The key of an inquiry's metadata that holds it: a number from 0 to 1, or the name of a tier."),
    )  # fmt: skip
    value_tiers = forms.CharField(
        label=gettext_lazy("Tiers"), required=False, max_length=4000, widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy("One a line, such as gold = 0.8."),
    )  # fmt: skip
    alert_emails = forms.CharField(
        label=gettext_lazy("Mail about missed targets to"), required=False, max_length=4000,
        widget=forms.Textarea(attrs={"rows": 2}), help_text=gettext_lazy("One address a line. The owner of the case is told too."),
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for i, day in enumerate(DAYS):
            self.fields[f"day{i}"] = forms.CharField(label=day, required=False, max_length=120)
        for level in LEVELS:
            for clock in ("first", "last"):
                field = forms.IntegerField(
                    min_value=1, max_value=MAX_MINUTES, label=f"{LEVEL_NAMES[level]}: {CLOCK_NAMES[clock]}"
                )
                self.fields[f"{level}_{clock}"] = field
        for name in self.errors if self.is_bound else ():
            if name in self.fields:
                self.fields[name].widget.attrs |= {"aria-invalid": "true", "aria-describedby": f"fault-{name}"}

    @classmethod
    def of(cls, row: ServiceLevel) -> ServiceLevelForm:
        """Filled with what is stored."""
        targets = {level: row.minutes(level) for level in LEVELS}
        return cls(initial={
            "zone": row.zone, "value_key": row.value_key, "holidays": "\n".join(d.isoformat() for d in sorted(row.holidays)),
            "value_tiers": "\n".join(f"{k} = {v:g}" for k, v in row.value_tiers.items()),
            "alert_emails": "\n".join(row.alert_emails), **{f"day{i}": h for i, h in enumerate(row.hours)},
            **{f"{level}_{c}": targets[level][i] for level in LEVELS for i, c in enumerate(("first", "last"))},
        })  # fmt: skip

    @property
    def days(self) -> list[forms.BoundField]:
        return [self[f"day{i}"] for i in range(7)]

    @property
    def targets(self) -> list[tuple[str, Any, forms.BoundField, forms.BoundField]]:
        return [(level, LEVEL_NAMES[level], self[f"{level}_first"], self[f"{level}_last"]) for level in LEVELS]

    def clean_zone(self) -> str:
        given = str(self.cleaned_data["zone"]).strip()
        if given not in available_timezones():
            raise ValidationError(_("There is no such time zone. Choose one from the list, such as Europe/Berlin."))
        return str(ZoneInfo(given))

    def clean_holidays(self) -> list[date]:
        return sorted({_day(line) for line in _lines(self.cleaned_data["holidays"], MAX_HOLIDAYS)})

    def clean_value_tiers(self) -> dict[str, float]:
        return dict(_tier(line) for line in _lines(self.cleaned_data["value_tiers"], MAX_TIERS))

    def clean_alert_emails(self) -> list[str]:
        lines = _lines(self.cleaned_data["alert_emails"], MAX_EMAILS)
        for line in lines:
            validate_email(line)
        return lines

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        for i in range(7):
            self._clean_day(f"day{i}", given)
        if not any(given.get(f"day{i}") for i in range(7)) and not self.errors:
            self.add_error("day0", _("The desk must open at some time in the week, or no target could ever be met."))
        for level in LEVELS:
            first, last = given.get(f"{level}_first"), given.get(f"{level}_last")
            if first and last and first > last:
                self.add_error(f"{level}_last", _("The resolution cannot be due before the first reply."))
        return given

    def _clean_day(self, name: str, given: dict[str, Any]) -> None:
        try:
            given[name] = format_hours(parse_hours(given.get(name, "")))
        except ValueError as error:
            self.add_error(name, _HOURS_FAULTS[str(error)])

    def save(self, project_id: int) -> None:
        v = self.cleaned_data
        ServiceLevel.objects.update_or_create(
            project_id=project_id,
            defaults={
                "zone": v["zone"], "hours": [v[f"day{i}"] for i in range(7)], "holidays": v["holidays"], "value_key": v["value_key"],
                "value_tiers": v["value_tiers"], "alert_emails": v["alert_emails"],
                "targets": {level: [v[f"{level}_first"], v[f"{level}_last"]] for level in LEVELS},
            },
        )  # fmt: skip


CLOCK_NAMES = {"first": gettext_lazy("first reply"), "last": gettext_lazy("resolution")}
_HOURS_FAULTS = {
    "format": gettext_lazy("Write spans such as 09:00–12:00, 13:00–18:00; nothing for a closed day."),
    "order": gettext_lazy("Each span must end after it begins, and begin after the one before has ended."),
}
_TIER = re.compile(r"(?P<name>[^=]{1,60})=\s*(?P<value>0(?:\.\d+)?|1(?:\.0+)?)")


def _lines(text: str, limit: int) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > limit:
        raise ValidationError(_("Up to %(n)d lines, please.") % {"n": limit})
    return lines


def _day(line: str) -> date:
    try:
        return date.fromisoformat(line)
    except ValueError as error:
        raise ValidationError(_("“%(line)s” is no date. Write it as 2027-01-01.") % {"line": line[:40]}) from error


def _tier(line: str) -> tuple[str, float]:
    found = _TIER.fullmatch(line)
    if found is None:
        raise ValidationError(
            _("“%(line)s” is no tier. Write its name and a number from 0 to 1: gold = 0.8") % {"line": line[:40]}
        )
    return found["name"].strip().casefold(), float(found["value"])


@page(*LEADS)
def service_level(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Read and change them; the clocks of open cases follow at once."""
    row = escalations.service_level(who.project.pk)
    form = ServiceLevelForm(request.POST) if request.method == "POST" else ServiceLevelForm.of(row)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            form.save(who.project.pk)
            moved = escalations.reset_clocks(project_id=who.project.pk)
        messages.success(request, _("Saved. The clocks of %(n)d open cases follow.") % {"n": moved})
        return redirect("service-level", slug=who.project.slug)
    context = {
        "project": who.project, "form": form, "zones": sorted(z for z in available_timezones() if "/" in z or z == "UTC"),
        "mails": not settings.EMAIL_BACKEND.endswith("dummy.EmailBackend"),
    }  # fmt: skip
    return render(request, "labeling/hours.html", context, status=422 if form.errors else 200)
