"""What the drift page shows: figures from stored reports, for the template."""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import Any

from django.http import Http404
from django.utils.translation import gettext as _

from feedback.charts import Chart, Limit, Point, Series
from feedback.models import Inquiry, Job, JobState, Project
from labeling import selectors as labeling_selectors
from learning import drift_words, run_words, trends
from learning.models import DriftReport, DriftSettings, GuardReport, RetrainingVerdict
from serving.models import DecisionRecord

EARLIER = 8
WIDEST_Z = 8.0
PARTS = ("novelty", "novel_density", "cell_shares")  # in the order of the text
SHOWN_SHARES = 8
UNFINISHED = (JobState.QUEUED, JobState.RUNNING, JobState.FAILED)


def figures(project: Project, report_id: int | None = None) -> dict[str, Any]:
    """Context of the page's figures; the newest check unless another one of the project is named. Http404 where it is not."""
    rows = DriftReport.objects.filter(project=project).select_related("reference")
    newest = list(rows.order_by("-created_at", "-pk")[:EARLIER])
    report = next(iter(newest), None) if report_id is None else rows.filter(pk=report_id).first()
    if report is None and report_id is not None:
        raise Http404(_("There is no such check in this project."))
    told, names = (
        DriftSettings.of(project.pk),
        labeling_selectors.category_names(project_id=project.pk, revision=project.revision),
    )
    verdict = RetrainingVerdict.objects.filter(project=project).order_by("-created_at", "-pk").first()
    guard = GuardReport.objects.filter(project=project).order_by("-created_at", "-pk").first()
    return {
        "project": project, "told": told, "report": _report(report, names) if report else None, "chart": trends.drift(project),
        "sentence": _headline(project, report), "verdict": _verdict(verdict, told) if verdict else None,
        "asked": run_words.last_asked(project),
        "guard": _guard(guard, names) if guard else None, "guard_words": drift_words.guard(guard), "alpha_chart": trends.alpha(project),
        "earlier": [_earlier(r, report) for r in newest], "job": _job(project), "kinds": trends.FILES,
    }  # fmt: skip


def _headline(project: Project, report: DriftReport | None) -> str:
    if report is not None:
        return drift_words.joined(drift_words.changed(report))
    return _("No check has run yet. The first one comes by itself once there are enough inquiries to compare.")


def _job(project: Project) -> dict[str, Any] | None:
    job = Job.objects.filter(project=project, kind="drift", state__in=UNFINISHED).order_by("-pk").first()
    return {"progress": f"{100 * job.progress:.0f}", "stage": job.stage} if job else None


def _earlier(r: DriftReport, shown: DriftReport | None) -> dict[str, Any]:
    return {
        "pk": r.pk, "at": r.created_at, "words": drift_words.STATES[r.state], "tone": drift_words.TONES[r.state],
        "shape": drift_words.SHAPES[r.state], "n": r.n, "p": drift_words.chance(r.p_value), "trigger": drift_words.TRIGGERS[r.trigger],
        "shown": shown is not None and r.pk == shown.pk, "reference": r.reference.sha256[:8],
    }  # fmt: skip


def _report(r: DriftReport, names: dict[str, str]) -> dict[str, Any]:
    return {
        **_earlier(r, r), "row": r, "parts": _parts(r), "detectors": _detectors(r), "slices": _slices(r, names),
        "signals": _signals(r), "shifts": [_shift(s, names) for s in r.shifts], "examples": _examples(r, names),
        "level": drift_words.chance(r.level), "size": f"{r.reference.size:,d}",
    }  # fmt: skip


def _parts(r: DriftReport) -> list[dict[str, Any]]:
    return [
        {"name": drift_words.DETECTORS[name][0], "what": drift_words.DETECTORS[name][1], "z": drift_words.signed(z),
         "bar": f"{100 * min(max(z, 0.0), WIDEST_Z) / WIDEST_Z:.1f}"}
        for name in PARTS if (z := r.parts.get(name)) is not None
    ]  # fmt: skip


def _detectors(r: DriftReport) -> list[dict[str, Any]]:
    return [
        {"name": drift_words.DETECTORS[d["name"]][0], "what": drift_words.DETECTORS[d["name"]][1], "value": f"{d['value']:.3g}",
         "p": f"{d['p']:.4f}", "drifted": d["drifted"]}
        for d in r.detectors if not d["part"]
    ]  # fmt: skip


def _slices(r: DriftReport, names: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"by": drift_words.SLICES[s["by"]], "value": names.get(s["value"], s["value"]), "n": s["n"], "p": f"{s['p']:.3f}",
         "drifted": s["drifted"]}
        for s in sorted(r.slices, key=lambda s: s["p"])
    ]  # fmt: skip


def _signals(r: DriftReport) -> list[dict[str, Any]]:
    """The kinds of change, each with what was measured of it."""
    found = []
    for code, name in drift_words.KIND_NAMES.items():
        p = r.signals.get(code)
        found.append({"name": name, "p": None if p is None else f"{p:.3f}", "drifted": code in r.kinds or (
            code == "calibration" and p is not None and p <= 0.05
        )})  # fmt: skip
    return found


def _shift(s: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A class whose share moved, with the places of both shares on a line of 100."""
    most = max(s["window"], s["reference"], 1e-9)
    scale = 94 / max(most, 0.05)
    places = [3 + scale * s[k] for k in ("reference", "window")]
    return {
        "name": names.get(s["category"], s["category"]), "before": drift_words.percent(s["reference"]),
        "now": drift_words.percent(s["window"]), "z": drift_words.signed(s["z"]), "a": f"{places[0]:.1f}", "b": f"{places[1]:.1f}",
        "c": f"{places[1] - 2.5:.1f}", "drifted": abs(s["z"]) >= 3,
    }  # fmt: skip


def _examples(r: DriftReport, names: dict[str, str]) -> list[dict[str, Any]]:
    """Texts that drifted and still exist: an erased one is not shown, nor what it was."""
    ids = [e["inquiry"] for e in r.examples]
    texts = {
        str(pk): (text, lo) for pk, text, lo in Inquiry.objects.filter(pk__in=ids).values_list("pk", "text", "locale")
    }
    said = DecisionRecord.objects.filter(inquiry_id__in=ids).values_list("inquiry_id", "category__key", "confidence")
    answers = {str(pk): (names.get(key, key or "–"), round(100 * sure)) for pk, key, sure in said}
    return [
        {"text": texts[e["inquiry"]][0], "locale": texts[e["inquiry"]][1], "p": drift_words.chance(e["p"]),
         "companions": e["companions"], "said": answers.get(e["inquiry"])}
        for e in r.examples if e["inquiry"] in texts
    ]  # fmt: skip


def _verdict(v: RetrainingVerdict, told: DriftSettings) -> dict[str, Any]:
    chart = decay_chart(v, told)
    return {
        "row": v, "sentence": drift_words.verdict(v, audited=told.audited), "chart": chart, "expected": _expected(v),
        "monitors": [drift_words.monitor(m) for m in v.monitors], "needed": told.audited,
        "accuracy": {k: drift_words.percent(v.now[k]) for k in ("value", "lower", "upper")} if v.now else None,
        "n": v.now["n"] if v.now else 0,
    }  # fmt: skip


def _expected(v: RetrainingVerdict) -> str:
    """When a training will be due, in a sentence."""
    if v.decay is None:
        return _("When a training will be due can be said after three days with audited answers.")
    if v.expected_on is None:
        return _("Accuracy is not expected to reach the threshold within a year.")
    words = _("Accuracy is expected at the threshold on %(day)s (between %(first)s and %(last)s).")
    later = _("later than a year")
    return words % {"day": v.expected_on, "first": v.earliest_on or later, "last": v.latest_on or later}


def decay_chart(v: RetrainingVerdict, told: DriftSettings) -> Chart | None:
    """Audited accuracy by day since the version went live, and the fitted curve; None before there is one."""
    if not v.decay:
        return None
    d, begun = v.decay, date.fromisoformat(v.decay["since"])
    measured = tuple(Point(p["day"], p["correct"] / p["n"]) for p in d["points"])
    last = max(p.x for p in measured)
    until = max(last * 1.3, last + 3)
    if v.expected_on is not None:
        until = min(max(until, (v.expected_on - begun).days + 2), 6 * last + 30)
    curve = tuple(Point(x, _at(d, x)) for x in (until * n / 40 for n in range(41)))
    rows = tuple(
        (
            (begun + timedelta(days=p["day"])).isoformat(),
            f"{p['correct'] / p['n']:.4f}",
            f"{p['n']:.0f}",
            f"{_at(d, p['day']):.4f}",
        )
        for p in d["points"]
    )
    words = _("Acc(t) = %(floor)s + %(gap)s · e^(−%(rate)s t), t in days: half of the loss after %(half)s days.")
    half = math.log(2) / d["rate"] if d["rate"] > 0 else math.inf
    note = _("No decay can be seen.") if math.isinf(half) else words % {
        "floor": f"{d['floor']:.3f}", "gap": f"{d['start'] - d['floor']:.3f}", "rate": f"{d['rate']:.3f}", "half": f"{half:.1f}",
    }  # fmt: skip
    return Chart(
        "decay", _("How accuracy decays after a training"),
        (Series(_("audited"), measured, "model", "", "circle"), Series(_("fitted"), curve, "quiet", "dashed", "")),
        (_("Day"), _("Audited"), _("Count"), _("Fitted")), rows, lambda x: (begun + timedelta(days=x)).strftime("%m-%d"), trends.percent,
        limits=(Limit(told.least_accuracy, _("retrain below")),), top=1.0, note=note,
    )  # fmt: skip


def _at(decay: dict[str, Any], day: float) -> float:
    return float(decay["floor"] + (decay["start"] - decay["floor"]) * math.exp(-decay["rate"] * day))


def _guard(g: GuardReport, names: dict[str, str]) -> dict[str, Any]:
    gaps = sorted(g.shares, key=lambda k: -abs(g.training_shares.get(k, 0) - g.shares[k]))[:SHOWN_SHARES]
    return {
        "row": g, "labels": f"{g.labels:,d}", "alarms": drift_words.alarms(g), "alpha": drift_words.percent(g.alpha),
        "range": f"{drift_words.percent(g.lower)} – {drift_words.percent(g.upper)}", "own": drift_words.percent(g.own),
        "seen": drift_words.percent(g.seen), "copied": None if g.copy_rate is None else drift_words.percent(g.copy_rate),
        "exposure": None if g.exposure is None else drift_words.percent(g.exposure),
        "gain": None if g.eigenvalue is None else f"{g.eigenvalue:.2f}",
        "shares": [(names.get(k, k), drift_words.percent(g.training_shares.get(k, 0)), drift_words.percent(g.shares[k])) for k in gaps],
    }  # fmt: skip
