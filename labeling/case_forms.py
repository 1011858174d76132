"""What an agent fills in, and the moments that a case can be set aside until."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from feedback.models import Category, Reply
from labeling import macros
from labeling.access import Visitor
from labeling.case_models import Outcome
from labeling.case_resolving import Resolution
from labeling.escalation import HORIZON, Calendar, open_spans
from labeling.models import Escalation

OUTCOMES: dict[str, str | Promise] = {
    Outcome.ANSWERED: gettext_lazy("Answered"),
    Outcome.NO_REPLY: gettext_lazy("No reply was needed"),
    Outcome.ELSEWHERE: gettext_lazy("Handled elsewhere"),
}


class CategoryField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """Categories under their names in the reader's language."""

    def label_from_instance(self, obj: Category) -> str:
        return obj.name_in(get_language() or "en")


class ResolveForm(forms.Form):
    """What the customer is told, and what the inquiry was about: the category becomes a label."""

    category = CategoryField(
        queryset=Category.objects.none(), to_field_name="key", label=gettext_lazy("It was about"),
        empty_label=gettext_lazy("Choose a category"),
        error_messages={"required": gettext_lazy("Choose what it was about: the choice becomes a label.")},
    )  # fmt: skip
    outcome = forms.ChoiceField(label=gettext_lazy("Outcome"), choices=list(OUTCOMES.items()), initial=Outcome.ANSWERED)
    reply = forms.CharField(
        label=gettext_lazy("Reply to the customer"), max_length=8000, required=False, widget=forms.Textarea(attrs={"rows": 4})
    )  # fmt: skip
    prefer = forms.BooleanField(
        label=gettext_lazy("My reply is better than the automatic one"), required=False, initial=True
    )
    guideline = forms.CharField(
        label=gettext_lazy("What the guideline of this category should say"), max_length=8000, required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
    )  # fmt: skip
    block_model = forms.BooleanField(
        label=gettext_lazy("The model version that answered must not go on serving"), required=False
    )
    version = forms.IntegerField(min_value=1, widget=forms.HiddenInput)

    def __init__(self, *args: Any, who: Visitor, keeps_open: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.who, self.keeps_open = who, keeps_open
        field = self.fields["category"]
        assert isinstance(field, CategoryField)
        field.queryset = Category.objects.filter(project=who.project, archived_at=None)
        field.required = not keeps_open
        for name in self.errors if self.is_bound else ():
            if name in self.fields:
                self.fields[name].widget.attrs |= {"aria-invalid": "true", "aria-describedby": f"fault-{name}"}

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        text = given.get("reply", "")
        if not text and (self.keeps_open or given.get("outcome") == Outcome.ANSWERED):
            self.add_error("reply", _("Write what the customer is told."))
        elif left := macros.gaps(text):
            self.add_error(
                "reply", _("Fill in or remove {%(gap)s}: the customer would read it as it stands.") % {"gap": left[0]}
            )
        return given

    def on_version(self, version: int) -> ResolveForm:
        """The same words for a case that has meanwhile changed."""
        given = self.data.copy()  # type: ignore[attr-defined]
        given["version"] = str(version)
        return ResolveForm(given, who=self.who, keeps_open=self.keeps_open)

    def resolution(self) -> Resolution:
        """Of a valid form."""
        v = self.cleaned_data
        return Resolution(
            category=v["category"].key, outcome=v["outcome"], reply=v["reply"], prefer=v["prefer"],
            guideline=v["guideline"], block_model=v["block_model"],
        )  # fmt: skip


@dataclass(frozen=True)
class Macro:
    """A prepared reply with its gaps filled in for one case."""

    name: str
    locale: str
    text: str
    category: str


def macros_for(case: Escalation, who: Visitor) -> list[Macro]:
    """The project's replies: those of the model's category and the customer's language first."""
    rows = Reply.objects.filter(project=who.project, active=True, category__archived_at=None).select_related("category")
    language, values = case.inquiry.locale.split("-")[0], _values(case, who)
    ranked = sorted(
        rows,
        key=lambda r: (
            r.category_id != case.inquiry.category_id, r.locale.split("-")[0] != language, r.category.position, r.locale, r.slot,
        ),
    )  # fmt: skip
    reader = get_language() or "en"
    return [
        Macro(r.category.name_in(reader), r.locale, macros.fill(r.text, values), r.category.key) for r in ranked[:200]
    ]


def _values(case: Escalation, who: Visitor) -> Mapping[str, str]:
    """What a gap may be filled with: the inquiry's own metadata, and what Enso knows."""
    plain = {k: str(v) for k, v in case.inquiry.metadata.items() if isinstance(v, str | int | float)}
    known = {
        "customer": case.inquiry.customer, "case": str(case.pk), "reference": case.inquiry.external_id or "",
        "agent": who.user.get_full_name() or who.user.username, "project": who.project.name,
    }  # fmt: skip
    return plain | known


@dataclass(frozen=True)
class Pause:
    """A moment that a case can be set aside until."""

    key: str
    label: str
    until: datetime


def pauses(calendar: Calendar, now: datetime) -> list[Pause]:
    """In an hour, in four, tomorrow morning and next Monday; mornings begin when the desk opens."""
    local = now.astimezone(calendar.zone)
    midnight = datetime.combine(local.date(), time(), calendar.zone)
    tomorrow = midnight + timedelta(days=1)
    monday = midnight + timedelta(days=7 - local.weekday())
    return [
        Pause("1h", _("In an hour"), now + timedelta(hours=1)),
        Pause("4h", _("In four hours"), now + timedelta(hours=4)),
        Pause("tomorrow", _("Tomorrow"), _opening(calendar, tomorrow)),
        Pause("monday", _("Next Monday"), _opening(calendar, monday)),
    ]


def _opening(calendar: Calendar, day: datetime) -> datetime:
    """When the desk first opens from midnight on; nine o'clock where it is open at midnight, or never."""
    for start, _end in open_spans(calendar, day, day + HORIZON):
        return start if start > day else day + timedelta(hours=9)
    return day + timedelta(hours=9)
