"""The maturity of the loop, in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeling.spans import duration
from learning.core.maturity import LEVELS, Aspect, Maturity


def maturity(found: Maturity) -> dict[str, Any]:
    """Context of the maturity strip."""
    return {"score": found.score, "aspects": [_aspect(a) for a in found.aspects], "words": _words(found)}


def _aspect(a: Aspect) -> dict[str, Any]:
    names = {
        "automation": _("Answered without a person"), "gates": _("Gates passed by new versions"),
        "deployments": _("Versions that went live"), "recovery": _("From alarm to new version"),
    }  # fmt: skip
    return {
        "name": names[a.name], "value": _value(a), "note": _note(a), "steps": [n < a.level for n in range(LEVELS)],
        "level_words": _("level %(n)s of %(of)s") % {"n": a.level, "of": LEVELS},
    }  # fmt: skip


def _value(a: Aspect) -> str:
    if a.value is None:
        return "–"
    if a.name == "recovery":
        return duration(timedelta(days=a.value))
    return str(a.n) if a.name == "deployments" else f"{100 * a.value:.0f}\u00a0%"


def _note(a: Aspect) -> str:
    """Of what the figure is."""
    n = {"n": a.n}
    if a.name == "automation":
        return ngettext("of %(n)s inquiry, 30 days", "of %(n)s inquiries, 30 days", a.n) % n
    if a.name == "gates":
        return ngettext("of %(n)s check, 90 days", "of %(n)s checks, 90 days", a.n) % n
    if a.name == "deployments":
        return _("in 30 days")
    if a.value is None:
        return _("nothing to recover from yet")
    return ngettext("median of %(n)s alarm, 90 days", "median of %(n)s alarms, 90 days", a.n) % n


def _words(found: Maturity) -> str:
    if found.score is None:
        return _("Nothing has been measured yet.")
    measured = len(found.aspects) - len(found.missing)
    return _("The mean of what is measured (%(n)s of %(of)s); what has not happened yet does not count.") % {
        "n": measured, "of": len(found.aspects),
    }  # fmt: skip
