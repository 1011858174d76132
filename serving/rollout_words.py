"""What a rollout has to say, in words: reasons are stored as data, so that each reader gets their own language."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

METRICS = {
    "accuracy": gettext_lazy("Right answers, audited"),
    "disagreement": gettext_lazy("Contradicted by a person"),
    "escalations": gettext_lazy("Escalated"),
    "errors": gettext_lazy("Failed to answer"),
    "slow": gettext_lazy("Slower than the limit"),
    "nps": gettext_lazy("Net promoter score"),
}
STATES = {
    "running": gettext_lazy("running"),
    "held": gettext_lazy("held by a person"),
    "completed": gettext_lazy("everybody has it"),
    "rolled_back": gettext_lazy("rolled back"),
    "aborted": gettext_lazy("aborted"),
}
TONES = {"running": "model", "held": "person", "completed": "ok", "rolled_back": "bad", "aborted": ""}


def reason(given: dict[str, Any]) -> str:
    """One sentence; empty before the first look."""
    code = given.get("code", "")
    if code == "harm":
        words = _("Worse than production in “%(metric)s”: always-valid p = %(p)s.")
        return words % {"metric": METRICS.get(given["metric"], given["metric"]), "p": f"{given['p_value']:.2g}"}
    if code == "evidence":
        words = ngettext(
            "The evidence is in: %(n)s customer in the smaller arm.",
            "The evidence is in: %(n)s customers in the smaller arm.",
            given["customers"],
        )
        return words % {"n": given["customers"]}
    if code in ("wait", "late", "held"):
        return " ".join([str(_WAITING[code]), *(lacking(x) for x in given.get("lacks", []))])
    return _other(code, given)


def _other(code: str, given: dict[str, Any]) -> str:
    if code == "hand":
        who = given.get("by") or _("a key")
        return str(_HANDS.get(given.get("what", ""), "%(who)s")) % {"who": who}
    if code == "overtaken":
        return _("Another version was promoted meanwhile: there is nothing left to compare with.")
    if code == "corrupt":
        return _("The candidate's bundle is not what its manifest promises: it answers nobody.")
    return ""


_WAITING = {
    "wait": gettext_lazy("Collecting evidence."),
    "late": gettext_lazy("Waited too long, and does not go on by itself."),
    "held": gettext_lazy("Held by a person; harm still rolls back."),
}
_HANDS = {
    "hold": gettext_lazy("%(who)s holds it at this step; harm still rolls back."),
    "resume": gettext_lazy("%(who)s let it go on."),
    "advance": gettext_lazy("%(who)s moved it on without waiting."),
    "abort": gettext_lazy("%(who)s ended it."),
}


def lacking(lack: dict[str, Any]) -> str:
    """What one requirement still needs."""
    if lack["code"] == "differs":
        return (
            _("In the shadow %(seen)s of %(of)s answers were other ones than production's: a person has to look.")
            % lack
        )
    words = {
        "customers": gettext_lazy("%(seen)s of %(needed)s customers in the smaller arm."),
        "audited": gettext_lazy("%(seen)s of %(needed)s audited answers in the smaller arm."),
    }
    return str(words[lack["code"]]) % lack


def percent(share: int) -> str:
    """The name of a step."""
    return _("Shadow") if share == 0 else f"{share}\u00a0%"
