"""Why a person is asked, in their own language. `task.reason` is data; an unknown rule is named and nothing breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from labeling.models import TaskKind


@dataclass(frozen=True)
class Why:
    """`blind` names no category, so that it suggests none; `seen` may, once the person has asked for the suggestion."""

    blind: str
    seen: str


def why(kind: str, reason: Any, names: Mapping[str, str]) -> Why:
    """The reason of a task of this kind in words; `names` are the project's categories by key, in the reader's language."""
    if kind == TaskKind.AUDIT:
        return _same(
            _("Drawn at random to measure how often the model is right. It is shown to everybody without a suggestion.")
        )
    if kind == TaskKind.IMPORTED:
        return _same(_("Imported for labeling."))
    reason = reason if isinstance(reason, dict) else {}
    rule = str(reason.get("rule", ""))
    if rule == "margin":
        return _between(reason.get("between"), names)
    return _same(_single(rule))


def _single(rule: str) -> str:
    herding = _("Many similar inquiries are unsure: one label here helps all of them.")
    unlike = _("Nothing labeled so far is close to this inquiry.")
    typical = _("It stands for many similar inquiries that nobody has labeled yet.")
    far_and_unsure = _("The model is unsure of it, and nothing labeled so far is close to it.")
    known = {
        "": _("A person was asked for."),
        "random": _("Drawn at random, so that the model also meets what it does not expect."),
        "entropy": _("The model spreads its guess over many categories."),
        "least_confidence": _("The model is not sure of its best guess."),
        "coverage": unlike,
        "k_center": unlike,
        "diversity": unlike,
        "msal": far_and_unsure,
        "msal_equiangular": far_and_unsure,
        "cluster_margin": _("The model wavers, and it belongs to a group of inquiries that no other pick stands for."),
        "badge": _("An answer here would change the model more than most others."),
        # Nothing of the risk: whoever reads it would look for the category.
        "risk": _("A share of the queue is kept for what the other rules would pass over."),
        "herding": herding,
        "default": herding,  # what learning/selection does where a project has chosen nothing
        "topic": _("It belongs to a topic that somebody sent here to be labeled."),
        "typical": typical,
        "typiclust": typical,
    }
    return known.get(rule) or _("Chosen by the rule “%(rule)s”.") % {"rule": rule[:60]}


def _between(pairs: Any, names: Mapping[str, str]) -> Why:
    """“Split 48 to 46 between Refund and Delivery”; malformed data falls back to the general sentence."""
    try:
        (a, x), (b, y) = ((str(p["category"]), f"{round(100 * float(p['share']))}\u00a0%") for p in pairs[:2])
    except (TypeError, KeyError, ValueError, OverflowError):
        return _same(_("The model is not sure between two categories."))
    shares = {"x": x, "y": y}
    return Why(
        _("The model wavers between two categories: %(x)s to %(y)s.") % shares,
        _("The model wavers: %(x)s %(a)s, %(y)s %(b)s.") % {**shares, "a": names.get(a, a), "b": names.get(b, b)},
    )


def _same(text: str) -> Why:
    return Why(text, text)


def case_reasons(reasons: Any) -> list[str]:
    """Why a customer waits for a person, as sentences."""
    return [_case_reason(r) for r in reasons if isinstance(r, dict)] if isinstance(reasons, list) else []


def _case_reason(reason: Mapping[str, Any]) -> str:
    code, detail = str(reason.get("code", "")), str(reason.get("detail") or "")
    known = {
        "high_risk": _("High-risk category"),
        "angry": _("The customer sounds angry"),
        "unsure": _("The model is unsure"),
        "unread": _("No model could read it"),
        "gap": _("The reply has a gap that nothing fills"),
        "no_reply": _("No prepared reply is likely to help"),
        "annotator": _("An annotator asks for an agent"),
        "app": _("The app asks for a person"),
    }
    words = known.get(code, code or _("No reason given"))
    return f"{words}: {detail}" if detail and code in ("annotator", "app") else words
