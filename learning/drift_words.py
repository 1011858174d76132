"""What drift, verdicts and the guard have to say, in words: codes are stored, so that each reader gets their own language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from learning.models import DriftReport, GuardReport, RetrainingVerdict

KINDS = {
    "concept": gettext_lazy("The same kinds of text are answered wrongly more often than before: what is right has changed."),
    "input": gettext_lazy("Customers write texts unlike those the model knows."),
    "label": gettext_lazy("What customers ask for is distributed differently than before."),
    "prediction": gettext_lazy("The model’s answers are distributed differently than before."),
    "lead": gettext_lazy("So far the model’s audited accuracy has not suffered: a lead, not a verdict."),
    "unlabeled": gettext_lazy("Whether the answers are still right is unknown until blind labels come in."),
    "none": gettext_lazy("Nothing has changed beyond chance."),
}  # fmt: skip
KIND_NAMES = {
    "input": gettext_lazy("Input: what customers write"),
    "prediction": gettext_lazy("Prediction: what the model answers"),
    "label": gettext_lazy("Label: what is truly asked for"),
    "concept": gettext_lazy("Concept: what is right for the same text"),
    "calibration": gettext_lazy("Calibration: whether its confidence is earned"),
}
STATES = {
    "steady": gettext_lazy("nothing beyond chance"),
    "warning": gettext_lazy("unusual"),
    "critical": gettext_lazy("beyond chance"),
}
TONES = {"steady": "ok", "warning": "warn", "critical": "bad"}
SHAPES = {"steady": "○", "warning": "◇", "critical": "△"}
TRIGGERS = {
    "daily": gettext_lazy("the daily check"),
    "inquiries": gettext_lazy("enough new inquiries"),
    "hand": gettext_lazy("asked for by hand"),
}
DETECTORS = {
    "novelty": (gettext_lazy("Novelty"), gettext_lazy("texts far from every known one")),
    "novel_density": (gettext_lazy("New topic"), gettext_lazy("novel texts that resemble each other")),
    "cell_shares": (gettext_lazy("Class shares"), gettext_lazy("predicted classes in other shares (χ²)")),
    "novelty_share": (gettext_lazy("Novelty share"), gettext_lazy("texts beyond the reference’s 95 % point")),
    "centroid": (gettext_lazy("Centroid distance"), gettext_lazy("the mean text has moved")),
    "mmd": ("MMD", gettext_lazy("maximum mean discrepancy")),
    "psi": ("PSI", gettext_lazy("population stability index, per component")),
    "ks": ("KS", gettext_lazy("Kolmogorov–Smirnov, per component")),
    "prediction_kl": ("KL", gettext_lazy("divergence of the predicted classes")),
    "attribution_ks": (gettext_lazy("Reasons (KS)"), gettext_lazy("what the model decides by; changed beyond 0.15")),
}
SLICES = {"locale": gettext_lazy("Language"), "channel": gettext_lazy("Channel"), "category": gettext_lazy("Category")}
MONITORS = {
    "input": gettext_lazy("Drift check"), "audit": gettext_lazy("Blind audit labels"), "guard": gettext_lazy("Loop guard"),
}  # fmt: skip
REASONS = {
    "accuracy": gettext_lazy("audited accuracy is below what was demanded"),
    "drop": gettext_lazy("audited accuracy has fallen since it went live"),
    "drift": gettext_lazy("drift stayed critical"),
}


def changed(report: DriftReport) -> list[str]:
    """Sentences of one check, the gravest first."""
    return [str(KINDS.get(code, code)) for code in report.kinds or ["none"]]


def percent(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"


def signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def verdict(v: RetrainingVerdict, *, audited: int) -> str:
    """The verdict with its numbers, as one sentence."""
    known = v.now or {"value": 0.0, "lower": 0.0, "upper": 1.0, "n": 0}
    figures = {
        "value": percent(known["value"]), "low": percent(known["lower"]), "high": percent(known["upper"]), "n": known["n"],
        "audited": audited, "checks": v.critical_in_a_row, "why": REASONS.get(v.wanted, v.wanted),
        "days": f"{v.days_since_training or 0:.1f}",
    }  # fmt: skip
    return {
        "accuracy": _("Retrain: audited accuracy is %(value)s, at most %(high)s."),
        "drop": _("Retrain: audited accuracy has fallen to %(value)s since the version went live, beyond what is tolerated."),
        "drift": _("Retrain: %(checks)s drift checks in a row were critical."),
        "cooling down": _("A training is wanted (%(why)s), but the last one is %(days)s days old: waiting."),
        "healthy": _("Leave it: audited accuracy is %(value)s (%(low)s to %(high)s)."),
        "too few audits": _("No verdict yet: %(n)s of %(audited)s audited answers."),
    }.get(v.reason, v.reason) % figures  # fmt: skip


def alarms(g: GuardReport) -> list[str]:
    """What about the loop needs a person, worst first."""
    words = {
        "unstable": _(
            "The loop amplifies its own errors: its largest eigenvalue is %(gain)s, and above 1 an error grows."
        ),
        "alpha": _("The model may be learning mostly from itself: α is %(alpha)s, at most %(upper)s."),
        "exposure": _("What the model trains on and what customers ask differ in %(exposure)s of the class shares."),
        "unmeasured": _("Without blind labels nobody can tell how many suggestions were copied."),
    }
    figures = {
        "gain": f"{g.eigenvalue or 0:.2f}", "alpha": percent(g.alpha), "upper": percent(g.upper), "exposure": percent(g.exposure or 0),
    }  # fmt: skip
    return [words[code] % figures for code in g.alarms if code in words]


def guard(g: GuardReport | None) -> str:
    """One sentence about the loop."""
    if g is None:
        return _("How much the model learns from itself has not been measured yet.")
    figures = {"alpha": percent(g.alpha), "low": percent(g.lower), "high": percent(g.upper), "bound": percent(g.bound)}
    if g.upper < g.bound:
        return (
            _(
                "%(alpha)s of what the model learns is its own opinion (%(low)s to %(high)s): below the bound of %(bound)s."
            )
            % figures
        )
    if g.guarded:
        return (
            _(
                "Up to %(high)s of the labels may be the model’s own opinion; the training weighed them down to %(bound)s."
            )
            % figures
        )
    return (
        _("Up to %(high)s of the labels may be the model’s own opinion: the bound of %(bound)s does not hold.")
        % figures
    )


def joined(sentences: Sequence[str]) -> str:
    """Sentences one after the other, with a space where the language has one."""
    return ("" if (get_language() or "").startswith("ja") else " ").join(sentences)


def chance(p: float) -> str:
    """A p-value as odds: "1 in 400"."""
    return _("1 in %(n)s") % {"n": f"{max(round(1 / max(p, 1e-9)), 1):,d}"}


def monitor(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "words": MONITORS.get(row["name"], row["name"])}
