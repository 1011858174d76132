"""The pages on which people label: one item at a time for annotators, disputed ones for experts."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from feedback.models import Category, Role
from labeling.access import Visitor, page
from labeling.models import SkipReason, SlotRole
from labeling.shortcuts import BOTH, DESK, Shortcuts, key_rows

# Past this many categories number keys no longer reach them all: the list gets a filter.
NUMBERED = 9


@page(Role.ANNOTATOR)
def desk(request: HttpRequest, who: Visitor) -> HttpResponse:
    """The labeling desk. What it shows is fetched by its script: a GET must not take an item from the queue."""
    return _render(request, who, SlotRole.ANNOTATOR)


@page(Role.EXPERT)
def adjudicate(request: HttpRequest, who: Visitor) -> HttpResponse:
    """Disputed items, one at a time, with the answers side by side and without names."""
    return _render(request, who, SlotRole.EXPERT)


def _render(request: HttpRequest, who: Visitor, role: str) -> HttpResponse:
    categories = _categories(who)
    shortcuts = Shortcuts.of(who.user.preferences)
    context = {
        "project": who.project,
        "categories": categories,
        "filtered": len(categories) > NUMBERED,
        "expert": role == SlotRole.EXPERT,
        "skip_reasons": [(r.value, _skip_words(r)) for r in SkipReason if r not in (SkipReason.NONE, SkipReason.ESCALATED)],
        "escalate_reasons": _escalate_reasons(),
        "keys": key_rows(shortcuts, DESK, BOTH),
        "caps": shortcuts.caps,
        "shortcuts_on": shortcuts.on,
        "desk": {
            "project": who.project.slug, "role": role, "user": who.user.pk, "api": reverse("queue-next").removesuffix("queue/next"),
            "signIn": f"{reverse('sign-in')}?next={request.path}", "shortcuts": {"on": shortcuts.on, "keys": dict(shortcuts.keys)},
            "leaseSeconds": who.project.lease_seconds, "language": get_language(), "words": _words(),
        },
    }  # fmt: skip
    return render(request, "labeling/desk.html", context)


def _categories(who: Visitor) -> list[dict[str, Any]]:
    language = get_language() or "en"
    rows = Category.objects.filter(project=who.project, archived_at=None)
    return [
        {
            "key": c.key, "name": c.name_in(language), "description": c.description, "guideline": c.guideline,
            "examples": c.examples[:3], "high_risk": c.high_risk, "cap": str(i) if i <= NUMBERED else "",
        }
        for i, c in enumerate(rows, 1)
    ]  # fmt: skip


def _skip_words(reason: SkipReason) -> str:
    return {
        SkipReason.UNCLEAR: _("I cannot tell what is asked"),
        SkipReason.SEVERAL: _("Several categories fit"),
        SkipReason.MISSING: _("No category fits"),
        SkipReason.LANGUAGE: _("I do not read this language"),
    }[reason]


def _escalate_reasons() -> list[str]:
    return [
        _("The customer is angry or in distress"),
        _("Money, safety or the law is at stake"),
        _("It needs an answer today"),
        _("It needs knowledge that I do not have"),
    ]


def _words() -> dict[str, str]:
    """What the script says, in the language of the page; `{n}` and the like are filled in by it."""
    return {
        "item": _("Item {n}"),
        "saving": _("Saving"),
        "saved": _("Saved"),
        "kept": _("Kept here, not yet sent"),
        "kept_n": _("{n} kept on this device until the connection is back"),
        "saving_n": _("Saving {n}"),
        "all_saved": _("All saved"),
        "extra": _("Your time on that item had run out: your answer is kept, but not counted."),
        "refused": _("Not saved: {why}"),
        "signed_out": _("You have been signed out. Your answers are kept on this device and sent as soon as you sign in again."),
        "lost": _("Your time on this item has run out. You can still answer; the answer is kept, but may not be counted."),
        "left": _("{time} left"),
        "minute": _("{n} min"),
        "suggestion": _("The model says: {name}"),
        "no_suggestion": _("There is no suggestion for this item."),
        "suggested": _("model"),
        "chose": _("{name}, saved in the background. Next item."),
        "skipped": _("Skipped. Next item."),
        "escalated": _("Handed to an agent. Next item."),
        "undone": _("Taken back: the item is in front of you again."),
        "nothing_to_undo": _("There is nothing to take back."),
        "undo_offline": _("Taking back needs the connection. Try again when it is there."),
        "undo_gone": _("Taken back. Others have the item now."),
        "flagged": _("Flagged for the lead."),
        "unflagged": _("No longer flagged."),
        "kept_longer": _("Yours for {time} more."),
        "skip": _("Skipped"),
        "escalate": _("Escalated"),
        "none": _("None of these"),
        "return": _("Returned with a new guideline"),
        "offline_empty": _("No connection. What you answered is kept here; the next item comes when the connection is back."),
        "no_guideline": _("No guideline has been written for this category yet."),
        "first_guideline": _("Point at a category with the arrow keys to see its guideline."),
        "seconds": _("{n} s"),
        "matches": _("{n} categories"),
        "no_match": _("No category matches “{text}”."),
        "received": _("Received {when}"),
        "says": _("Answer {letter}"),
        "saw": _("saw the suggestion"),
        "blind": _("answered blind"),
    }  # fmt: skip
