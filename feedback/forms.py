"""What leads fill in about their desk, with what each setting does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from feedback.models import Category, Project, Role
from feedback.texts import fault_in
from feedback.visits import ROLE_NAMES

MAX_EXAMPLES = 50
_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_Words = str | Promise


def mark_faults(form: forms.BaseForm) -> None:
    """Tie each fault to its field, for those who hear the page."""
    for name in form.errors if form.is_bound else ():
        if name in form.fields:
            form.fields[name].widget.attrs |= {"aria-invalid": "true", "aria-describedby": f"fault-{name}"}


@dataclass(frozen=True)
class Section:
    """A group of settings on the page."""

    title: _Words
    about: _Words
    fields: tuple[str, ...]


SECTIONS = (
    Section(gettext_lazy("Project"), "", ("name",)),
    Section(
        gettext_lazy("Who answers"),
        gettext_lazy("An inquiry is answered at once only when none of these asks for a person."),
        ("confidence_threshold", "anger_threshold", "answers_by_hand", "audit_rate"),
    ),
    Section(gettext_lazy("Labeling"), "", ("overlap", "lease_seconds")),
    Section(gettext_lazy("Learning"), "", ("retrain_after_labels",)),
    Section(
        gettext_lazy("Scores"),
        gettext_lazy("How much each kind of feedback says about an answer. Parts that were not given drop out."),
        (
            "click_weight", "dwell_weight", "scroll_weight", "dwell_rate", "rating_weight", "sentiment_weight", "nps_weight",
            "rating_min", "rating_max",
        ),
    ),
)  # fmt: skip
WORDS: Mapping[str, tuple[_Words, _Words]] = {
    "name": (gettext_lazy("Name"), gettext_lazy("What people see. The short name in addresses stays as it is.")),
    "confidence_threshold": (gettext_lazy("Sure from"), gettext_lazy("A share from 0 to 1: below this confidence a person "
"is asked. Higher asks more often and errs less.")),
    "anger_threshold": (gettext_lazy("Angry below"), gettext_lazy("A sentiment from −1 to 1: below it "
"the customer gets a person.")),
    "answers_by_hand": (gettext_lazy("Unsure inquiries open a case"), gettext_lazy("An agent then answers them by hand; "
"otherwise they are labeled only.")),
    "audit_rate": (gettext_lazy("Audited share"), gettext_lazy("The share of all inquiries that is labeled blind, to measure "
"accuracy without bias. The customer notices nothing.")),
    "overlap": (gettext_lazy("Answers per item"), gettext_lazy("How many annotators answer each item, from 1 to "
"10. With two, agreement can be measured.")),
    "lease_seconds": (gettext_lazy("Time per item (s)"), gettext_lazy("How long an item is held for an annotator who "
"does nothing, from 30 to 86,400 seconds.")),
    "retrain_after_labels": (gettext_lazy("Labels until a training"), gettext_lazy("So many new labels start a training.")),
    "click_weight": (gettext_lazy("Weight of a click"), ""),
    "dwell_weight": (gettext_lazy("Weight of dwell time"), ""),
    "scroll_weight": (gettext_lazy("Weight of scrolling"), ""),
    "dwell_rate": (gettext_lazy("Rate of dwell time (per s)"), gettext_lazy("λ in 1 − e^(−λ·t): with 0.05, twenty "
"seconds say 63 % of what time can say.")),
    "rating_weight": (gettext_lazy("Weight of a rating"), ""),
    "sentiment_weight": (gettext_lazy("Weight of a comment's sentiment"), ""),
    "nps_weight": (gettext_lazy("Weight of NPS"), ""),
    "rating_min": (gettext_lazy("Lowest rating"), ""),
    "rating_max": (gettext_lazy("Highest rating"), ""),
}  # fmt: skip
BOUNDS: Mapping[str, tuple[float, float]] = {
    "lease_seconds": (30, 86_400), "retrain_after_labels": (1, 1_000_000), "overlap": (1, 10), "dwell_rate": (0.0001, 10.0),
    **{f"{name}_weight": (0.0, 1.0) for name in ("click", "dwell", "scroll", "rating", "sentiment", "nps")},
    "rating_min": (0, 1_000), "rating_max": (1, 1_000),
}  # fmt: skip


class SettingsForm(forms.ModelForm):  # type: ignore[type-arg]
    """A project's settings; `revision` is the one that the lead saw."""

    revision = forms.IntegerField(widget=forms.HiddenInput, min_value=1)

    class Meta:
        model = Project
        fields = [name for section in SECTIONS for name in section.fields]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["revision"].initial = self.instance.revision
        for name, (label, help_text) in WORDS.items():
            self.fields[name].label, self.fields[name].help_text = str(label), str(help_text)
        mark_faults(self)

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        for name, (low, high) in BOUNDS.items():
            value = given.get(name)
            if value is not None and not low <= value <= high:
                self.add_error(
                    name, _("Choose a number from %(low)s to %(high)s.") % {"low": f"{low:g}", "high": f"{high:,g}"}
                )
        if given.get("rating_min", 0) >= given.get("rating_max", 1):
            self.add_error("rating_max", _("The highest rating must be above the lowest."))
        return given

    @property
    def sections(self) -> list[tuple[Section, list[forms.BoundField]]]:
        return [(section, [self[name] for name in section.fields]) for section in SECTIONS]


class NewProjectForm(forms.Form):
    """A new desk with its first categories."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=200)
    slug = forms.SlugField(
        label=gettext_lazy("Short name"), max_length=64,
        help_text=gettext_lazy("In addresses and requests, such as shop. It cannot be changed later."),
    )  # fmt: skip
    categories = forms.CharField(
        label=gettext_lazy("Categories"), max_length=8000, widget=forms.Textarea(attrs={"rows": 6}),
        help_text=gettext_lazy("One a line. A word on what belongs to it helps the model from "
"the first day: Refund: the customer wants money back"),
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mark_faults(self)

    def clean_slug(self) -> str:
        given = str(self.cleaned_data["slug"]).lower()
        if Project.objects.filter(slug=given).exists():
            raise ValidationError(_("This short name is taken. Choose another one."))
        return given

    def clean_categories(self) -> list[dict[str, Any]]:
        rows: dict[str, dict[str, Any]] = {}
        for line in filter(str.strip, str(self.cleaned_data["categories"]).splitlines()):
            name, _colon, description = (part.strip() for part in line.replace("：", ":").partition(":"))
            key = key_of(name, taken=rows)
            rows[key] = {"key": key, "name": name[:200], "description": description}
        return list(rows.values())


def key_of(name: str, taken: Mapping[str, Any]) -> str:
    """A key made from a name; one that has no Latin letter gets a number.

    >>> key_of("Damaged goods", {}), key_of("返金", {}), key_of("Damaged goods", {"damaged-goods": 1})
    ('damaged-goods', 'category-1', 'damaged-goods-2')
    """
    base = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80]
    if not base:
        base, number = "category", 1
        while f"{base}-{number}" in taken:
            number += 1
        return f"{base}-{number}"
    key, number = base, 1
    while key in taken:
        number += 1
        key = f"{base}-{number}"
    return key


class CategoryForm(forms.Form):
    """One category as people and the model see it."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=200)
    name_ja = forms.CharField(label=gettext_lazy("Name in Japanese"), max_length=200, required=False)
    description = forms.CharField(
        label=gettext_lazy("What belongs to it"), max_length=2000, required=False, widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("The model reads it too, before there are labels."),
    )  # fmt: skip
    examples = forms.CharField(
        label=gettext_lazy("Examples"), max_length=20_000, required=False, widget=forms.Textarea(attrs={"rows": 4}),
        help_text=gettext_lazy("One a line, in customers' words."),
    )  # fmt: skip
    high_risk = forms.BooleanField(
        label=gettext_lazy("High risk"), required=False, help_text=gettext_lazy("Always answered by a person.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mark_faults(self)

    @classmethod
    def of(cls, category: Category) -> CategoryForm:
        return cls(initial={
            "name": category.name, "name_ja": category.names.get("ja", ""), "description": category.description,
            "examples": "\n".join(category.examples), "high_risk": category.high_risk,
        })  # fmt: skip

    def clean_examples(self) -> list[str]:
        lines = [line.strip() for line in str(self.cleaned_data["examples"]).splitlines() if line.strip()]
        if len(lines) > MAX_EXAMPLES:
            raise ValidationError(_("Up to %(n)d examples, please.") % {"n": MAX_EXAMPLES})
        if any(fault_in(line) for line in lines):
            raise ValidationError(_("The examples hold control characters. Write plain text."))
        return lines

    def as_fields(self, known: Mapping[str, str]) -> dict[str, Any]:
        """Fields of a Category; `known` are its names in other languages, which stay."""
        v = self.cleaned_data
        names = {k: n for k, n in known.items() if k != "ja"} | ({"ja": v["name_ja"]} if v["name_ja"] else {})
        plain = ("name", "description", "examples", "high_risk")
        return {"names": names, **{k: v[k] for k in plain}}


class ReplyForm(forms.Form):
    """A prepared reply."""

    locale = forms.CharField(label=gettext_lazy("Language"), max_length=16, initial="en")
    text = forms.CharField(
        label=gettext_lazy("Reply"), max_length=8000, widget=forms.Textarea(attrs={"rows": 4}),
        help_text=gettext_lazy("Gaps such as {customer}, {agent}, {reference} or a key of "
"the inquiry's metadata are filled in by the console."),
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mark_faults(self)

    def clean_locale(self) -> str:
        given = str(self.cleaned_data["locale"]).strip()
        if not _LOCALE.fullmatch(given):
            raise ValidationError(_("Write the language as en, ja or pt-BR."))
        return given


class PersonForm(forms.Form):
    """Somebody to be invited."""

    username = forms.CharField(
        label=gettext_lazy("User name"), max_length=150, validators=[UnicodeUsernameValidator()],
        help_text=gettext_lazy("Of somebody who signs in already, or a new one."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )  # fmt: skip
    first_name = forms.CharField(label=gettext_lazy("Name"), max_length=150, required=False)
    email = forms.EmailField(label=gettext_lazy("E-mail"), required=False, widget=forms.TextInput)
    roles = forms.MultipleChoiceField(
        label=gettext_lazy("Roles"), widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one role.")},
    )  # fmt: skip

    def __init__(self, *args: Any, grantable: frozenset[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["roles"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(r, ROLE_NAMES[Role(r)]) for r in Role.values if r in grantable]
        mark_faults(self)
